"""Latency on one thread, batch of one: of the exported file under ONNX Runtime, and of a module in PyTorch.

Two calls are timed against each other, so that what disturbs one of them disturbs the other as well.
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

#: what is timed: one pass of a model
Call = Callable[[], object]
#: seconds from some moment on, as ``time.thread_time`` and ``time.perf_counter`` tell them
Clock = Callable[[], float]
#: times some calls in a row; ms a call
Block = Callable[[], float]
#: a block of the model, a block of its reference
Pair = tuple[Block, Block]

BLOCK_MS = 0.1  # timed at once: reading the clock takes half a microsecond, a call of a tiny model twenty
WARMUP_CALLS = 5
LEAST_ROUNDS = 3
AGREED = 0.01  # spread at which repeats are believed
DOUBTED = 0.03  # spread beyond which a model is timed once more, after all others
COPIES = 8  # of each file in memory: one copy's speed differs from another's by one to two percent


@dataclass(frozen=True)
class Effort:
    """How long a comparison takes."""

    repeats: int  # that are compared with each other
    most: int  # that are made where they disagree by more than ``AGREED``
    repeat_ms: float  # of one, about; but three rounds at least


HEADLINE = Effort(repeats=10, most=30, repeat_ms=25.0)
BRIEF = Effort(repeats=3, most=3, repeat_ms=20.0)


@dataclass(frozen=True)
class Compared:
    """CPU time of a call, and how it compares."""

    cpu_ms: float  # of one call, median
    ratio: float  # to the reference's CPU time; median of the repeats, each of which is the median of its rounds
    spread: float  # of the repeats' ratios, (largest - smallest) / median


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_garbage_collection()
def compare_cpu_time(
    calls: Sequence[Call], references: Sequence[Call], effort: Effort = HEADLINE, *, clock: Clock = time.thread_time
) -> Compared:
    """CPU time of the calling thread, blocks of calls alternating with blocks of the reference's.

    CPU time leaves out what other processes take; alternating within a millisecond cancels what changes slowly (clock
    speed, what the other core does to shared caches); medians leave out rounds that were interrupted. A disturbance
    that lasts shows as repeats that disagree: then others follow, and those in a row that agree best are kept. They
    are chosen by how well they agree, never by the ratio.

    Args:
        calls: the model, in as many copies as there are of the reference: where a copy happens to lie in memory
            changes its speed for as long as it lives. As many are used as a repeat has time for, one at least.
        references: what it is compared with; likewise.
        effort: how long it takes.
        clock: in seconds.
    """
    pairs, rounds = _prepared(list(zip(calls, references, strict=True)), effort, clock)
    repeats: list[Compared] = []
    kept = None
    while kept is None or (kept.spread > AGREED and len(repeats) < effort.most):
        repeats.append(_repeat(pairs, rounds))
        if len(repeats) >= effort.repeats:
            latest = _summary(repeats[-effort.repeats :])
            kept = min(kept or latest, latest, key=lambda compared: compared.spread)
    return kept


@_no_garbage_collection()
def call_times_ms(
    call: Call, total_ms: float = 30.0, *, least: int = 20, clock: Clock = time.perf_counter
) -> NDArray[np.float64]:
    """What single calls take, one after the other, for about ``total_ms`` or ``least`` times."""
    count = max(least, round(total_ms / _ms_a_call(call, WARMUP_CALLS, clock)))
    return np.array([_ms_a_call(call, 1, clock) for _ in range(count)])


def _prepared(calls: Sequence[tuple[Call, Call]], effort: Effort, clock: Clock) -> tuple[list[Pair], int]:
    """The pairs that a repeat has time for, warm, and how many rounds it times of each."""
    pairs = [(_block(calls[0][0], clock), _block(calls[0][1], clock))]
    start = clock()
    for block in pairs[0]:
        block()
    rounds = effort.repeat_ms / 1e3 / (clock() - start)
    used = max(1, min(len(calls), int(rounds / LEAST_ROUNDS)))
    pairs += [(_block(call, clock), _block(reference, clock)) for call, reference in calls[1:used]]
    return pairs, max(LEAST_ROUNDS, round(rounds / used))


def _repeat(pairs: Sequence[Pair], rounds: int) -> Compared:
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


def _summary(repeats: list[Compared]) -> Compared:
    ratios = [repeat.ratio for repeat in repeats]
    middle = median(ratios)
    return Compared(median(repeat.cpu_ms for repeat in repeats), middle, (max(ratios) - min(ratios)) / middle)


def _block(call: Call, clock: Clock) -> Block:
    """What times as many calls as fill a block, after one that fills the caches again."""
    _ms_a_call(call, WARMUP_CALLS, clock)
    count = max(1, math.ceil(BLOCK_MS / _ms_a_call(call, WARMUP_CALLS, clock)))

    def block() -> float:
        call()
        return _ms_a_call(call, count, clock)

    return block


def _ms_a_call(call: Call, count: int, clock: Clock) -> float:
    start = clock()
    for _ in range(count):
        call()
    return (clock() - start) * 1e3 / count


class Loaded:
    """An exported model, loaded several times, so that no single place in memory decides its speed."""

    def __init__(self, model: OnnxModel) -> None:
        self._sessions = [model.session() for _ in range(COPIES)]

    def calls(self, inputs: Tensor) -> list[Call]:
        """What calls each of the copies on these inputs, in the thread that calls."""
        feed = {"input": np.ascontiguousarray(inputs.numpy())}
        return [partial(session.run, None, feed) for session in self._sessions]


def measure_latency(model: Loaded, dense: Loaded, example_input: Tensor) -> dict[str, float]:
    """Latency of an exported model for one unit of work, a batch of one, its calls interleaved with the dense model's.

    Absolute figures depend on the machine, and those by the clock on the wall on what else it does; the ratio of CPU
    times is what is compared.
    """
    calls = model.calls(example_input)
    cpu = compare_cpu_time(calls, dense.calls(example_input))
    wall_ms = call_times_ms(calls[0])
    return {
        "latency_ms": cpu.cpu_ms,
        "latency_ratio": cpu.ratio,
        "latency_spread": cpu.spread,
        "latency_wall_ms": float(np.median(wall_ms)),  # of single calls, by the clock on the wall
        "latency_p95_ms": float(np.percentile(wall_ms, 95)),
    }


def eager_call(model: nn.Module, inputs: Tensor) -> Call:
    """One pass of a module in PyTorch, without autograd; the caller sees to it that PyTorch has one thread."""
    return partial(torch.inference_mode()(model.eval()), inputs)
