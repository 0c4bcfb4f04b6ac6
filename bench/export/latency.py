"""Latency on one thread, batch of one: of the exported file under ONNX Runtime, and of a module in PyTorch.

Two callables are timed against each other, so that what disturbs one of them disturbs the other as well.
"""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.export.model import OnnxModel

Run = Callable[[], object]
#: seconds from some moment on, as ``time.thread_time`` and ``time.perf_counter`` tell them
Clock = Callable[[], float]
#: times some runs in a row; ms a run
Block = Callable[[], float]

BLOCK_MS = 0.1  # timed at once: reading the clock takes half a microsecond, a tiny model's run twenty
WARMUP_RUNS = 5
LEAST_ROUNDS = 3
AGREED = 0.01  # spread at which repeats are believed


@dataclass(frozen=True)
class Effort:
    """How long a comparison takes.

    Attributes:
        repeats: how many are compared with each other.
        most: how many are made at most, where they disagree by more than a hundredth.
        repeat_ms: what one takes, about; but three rounds at least.
    """

    repeats: int
    most: int
    repeat_ms: float


HEADLINE = Effort(repeats=10, most=30, repeat_ms=25.0)
BRIEF = Effort(repeats=3, most=3, repeat_ms=20.0)


@dataclass(frozen=True)
class Compared:
    """CPU time of a callable, and how it compares.

    Attributes:
        cpu_ms: of one run, median.
        ratio: to the reference's CPU time; median of the repeats, each of which is the median of its rounds.
        spread: of the repeats' ratios, (largest - smallest) / median.
    """

    cpu_ms: float
    ratio: float
    spread: float


def compare_cpu_time(
    runs: Sequence[Run], references: Sequence[Run], effort: Effort = HEADLINE, *, clock: Clock = time.thread_time
) -> Compared:
    """CPU time of the calling thread, blocks of runs alternating with blocks of the reference's.

    CPU time leaves out what other processes take; alternating within a millisecond cancels what changes slowly (clock
    speed, what the other core does to shared caches); medians leave out rounds that were interrupted. A disturbance
    that lasts shows as repeats that disagree: then others follow, and those in a row that agree best are kept. They
    are chosen by how well they agree, never by the ratio.

    Args:
        runs: what is timed, in as many copies as there are of the reference: where a copy happens to lie in memory
            changes its speed by one to two percent for as long as it lives. As many are used as a repeat has time
            for, one at least. They compute in the thread that calls.
        references: what it is compared with; likewise.
        effort: repeats, and how long each takes.
        clock: in seconds.
    """
    with _no_garbage_collection():
        pairs, rounds = _prepared(list(zip(runs, references, strict=True)), effort, clock)
        repeats: list[Compared] = []
        kept = None
        while kept is None or (kept.spread > AGREED and len(repeats) < effort.most):
            repeats.append(_repeat(pairs, rounds))
            if len(repeats) >= effort.repeats:
                latest = _summary(repeats[-effort.repeats :])
                kept = min(kept or latest, latest, key=lambda compared: compared.spread)
    return kept


def run_times_ms(
    run: Run, total_ms: float = 30.0, *, least: int = 20, clock: Clock = time.perf_counter
) -> NDArray[np.float64]:
    """What single runs take, one after the other, for about ``total_ms`` or ``least`` times."""
    with _no_garbage_collection():
        runs = max(least, round(total_ms / _ms_a_run(run, WARMUP_RUNS, clock)))
        return np.array([_ms_a_run(run, 1, clock) for _ in range(runs)])


def _prepared(runs: Sequence[tuple[Run, Run]], effort: Effort, clock: Clock) -> tuple[list[tuple[Block, Block]], int]:
    """The pairs that a repeat has time for, warm, and how many rounds it times of each."""
    pairs = [(_block(runs[0][0], clock), _block(runs[0][1], clock))]
    start = clock()
    for block in pairs[0]:
        block()
    rounds = effort.repeat_ms / 1e3 / (clock() - start)
    used = max(1, min(len(runs), int(rounds / LEAST_ROUNDS)))
    pairs += [(_block(run, clock), _block(reference, clock)) for run, reference in runs[1:used]]
    return pairs, max(LEAST_ROUNDS, round(rounds / used))


def _summary(repeats: list[Compared]) -> Compared:
    ratios = [repeat.ratio for repeat in repeats]
    middle = median(ratios)
    return Compared(median(repeat.cpu_ms for repeat in repeats), middle, (max(ratios) - min(ratios)) / middle)


def _repeat(pairs: Sequence[tuple[Block, Block]], rounds: int) -> Compared:
    """Medians of the blocks, and of the ratio of each to the mean of its reference's before and after it."""
    times, ratios = [], []
    for block, reference in pairs:
        before = reference()
        for _ in range(rounds):
            own, after = block(), reference()
            times.append(own)
            ratios.append(2 * own / (before + after))
            before = after
    return Compared(median(times), median(ratios), 0.0)


def _block(run: Run, clock: Clock) -> Block:
    """What times as many runs as fill a block, in ms a run, after one that fills the caches again."""
    _ms_a_run(run, WARMUP_RUNS, clock)
    runs = max(1, math.ceil(BLOCK_MS / _ms_a_run(run, WARMUP_RUNS, clock)))

    def block() -> float:
        run()
        return _ms_a_run(run, runs, clock)

    return block


def _ms_a_run(run: Run, runs: int, clock: Clock) -> float:
    start = clock()
    for _ in range(runs):
        run()
    return (clock() - start) * 1e3 / runs


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
