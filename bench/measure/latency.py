"""Latency under ONNX Runtime on one thread, batch of one, as a ratio to the dense model."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bench.measure.onnx_model import OnnxModel


@dataclass(frozen=True)
class Latency:
    """CPU time of one unit of work.

    Attributes:
        latency_ms: median over rounds.
        latency_ratio: median over rounds of the time divided by the dense model's in the same round.
    """

    latency_ms: float
    latency_ratio: float


def measure_latency(
    model: OnnxModel, dense: OnnxModel, example_input: Tensor, rounds: int = 25, round_ms: float = 8.0
) -> Latency:
    """CPU time of a model, its runs interleaved with the dense model's.

    CPU time of the calling thread (ONNX Runtime computes in it when it has one thread) leaves out what other
    processes take; interleaving cancels changes of clock speed. Absolute figures depend on the machine; the ratio
    is what is compared.
    """
    array = np.ascontiguousarray(example_input.numpy())
    run, run_dense = _runner(model, array), _runner(dense, array)
    for warmup in (run, run_dense):
        _cpu_ms(warmup, 5)
    repeats = max(1, round(round_ms / max(1e-3, _cpu_ms(run, 3))))
    repeats_dense = max(1, round(round_ms / max(1e-3, _cpu_ms(run_dense, 3))))
    pairs = np.array([(_cpu_ms(run, repeats), _cpu_ms(run_dense, repeats_dense)) for _ in range(rounds)])
    return Latency(float(np.median(pairs[:, 0])), float(np.median(pairs[:, 0] / pairs[:, 1])))


def _runner(model: OnnxModel, array: np.ndarray) -> Callable[[], object]:
    session = model.session()
    return lambda: session.run(None, {"input": array})


def _cpu_ms(run: Callable[[], object], repeats: int) -> float:
    start = time.thread_time()
    for _ in range(repeats):
        run()
    return (time.thread_time() - start) * 1e3 / repeats
