"""Latency on one thread, batch of one: of the exported file under ONNX Runtime, and of a module in PyTorch."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bench.measure.interleaved import Run, compare_cpu_time, run_times_ms
from bench.measure.onnx_model import OnnxModel

LOADS = 8  # one copy's speed differs from another's by one to two percent


class Loaded:
    """An exported model, loaded several times, so that no single place in memory decides its speed.

    Args:
        model: the model; with its one thread, ONNX Runtime computes in the thread that calls.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._sessions = [model.session() for _ in range(LOADS)]

    def runs(self, inputs: Tensor) -> list[Run]:
        """What runs each of the copies once on these inputs."""
        feed = {"input": np.ascontiguousarray(inputs.numpy())}
        return [partial(session.run, None, feed) for session in self._sessions]


@dataclass(frozen=True)
class Latency:
    """What one unit of work takes, and how that compares with the dense model.

    Attributes:
        latency_ms: CPU time, median.
        latency_ratio: CPU time divided by the dense model's, median of ten repeats.
        latency_spread: (largest - smallest) / median of these repeats; see ``compare_cpu_time``.
        latency_wall_ms: median of single runs by the clock on the wall.
        latency_p95_ms: their 95th percentile.
    """

    latency_ms: float
    latency_ratio: float
    latency_spread: float
    latency_wall_ms: float
    latency_p95_ms: float


def measure_latency(model: Loaded, dense: Loaded, example_input: Tensor) -> Latency:
    """Latency of an exported model, its runs interleaved with the dense model's.

    Absolute figures depend on the machine, and those by the clock on the wall on what else it does; the ratio of CPU
    times is what is compared.

    Args:
        model: the model.
        dense: what it is a ratio to.
        example_input: one unit of work, a batch of one.
    """
    runs = model.runs(example_input)
    cpu = compare_cpu_time(runs, dense.runs(example_input))
    wall_ms = run_times_ms(runs[0])
    return Latency(
        latency_ms=cpu.cpu_ms,
        latency_ratio=cpu.ratio,
        latency_spread=cpu.spread,
        latency_wall_ms=float(np.median(wall_ms)),
        latency_p95_ms=float(np.percentile(wall_ms, 95)),
    )


def eager_run(model: nn.Module, inputs: Tensor) -> Run:
    """One run of a module in PyTorch, without autograd; the caller sees to it that PyTorch has one thread."""
    model.eval()

    @torch.inference_mode()
    def run() -> Tensor:
        return model(inputs)  # type: ignore[no-any-return]

    return run
