"""Latency of a batch of one: of the exported file in its runtime, and of a module in PyTorch.

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
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.export import runtimes
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
CALM = 1.06  # the reference's time in a calm round, at most, as a multiple of its fastest
COPIES = 8  # of each file in memory: one copy's speed differs from another's by one to two percent


@dataclass(frozen=True)
class Effort:
    """How long a comparison takes."""

    repeats: int  # that are compared with each other
    most: int  # as long as so many repeats it waits for calm rounds
    repeat_ms: float  # of one, about; but three rounds at least


HEADLINE = Effort(repeats=10, most=60, repeat_ms=15.0)
BRIEF = Effort(repeats=3, most=18, repeat_ms=20.0)


@dataclass(frozen=True)
class Compared:
    """Time of a call, by the clock of the reference, and how it compares."""

    own_ms: float  # of one call, median
    ratio: float  # to the reference's time; median of the repeats, each of which is the median of its rounds
    spread: float  # of the repeats' ratios, (largest - smallest) / median
    reference_ms: float  # what the reference takes in calm moments


class Reference:
    """A model that others are compared with, in several copies.

    Attributes:
        clock: in seconds, by which both are timed: CPU time of the thread that calls, where it does all the work.
        fastest_ms: time of a call in calm moments, as far as they have been seen.
    """

    def __init__(self, calls: Sequence[Call], clock: Clock = time.thread_time) -> None:
        self.calls, self.clock, self.fastest_ms = list(calls), clock, math.inf


class Round(NamedTuple):
    """Time of a call of a model, and of its reference's before and after it, ms."""

    copy: int  # of both
    own: float
    before: float
    after: float


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
def compare_times(calls: Sequence[Call], reference: Reference, effort: Effort = HEADLINE) -> Compared:
    """What a call takes, blocks of calls alternating with blocks of the reference's.

    CPU time, the usual clock, leaves out what other processes take; alternating within a millisecond cancels what
    changes slowly, such as the clock speed; medians leave out rounds that were interrupted. Somebody at work on the
    other thread of the same core slows a large model down more than a small one, by a half and more, and comes and goes
    within milliseconds. So only calm rounds count: those in which the reference is as fast as it can be. They are
    chosen by the speed of the reference alone, never by the ratio.

    Args:
        calls: the model, in as many copies as there are of the reference: where a copy happens to lie in memory
            changes its speed for as long as it lives. As many are used as a repeat has time for, one at least.
        reference: what it is compared with, and by which clock; it remembers its fastest.
        effort: how long it takes.
    """
    pairs, count = _prepared(list(zip(calls, reference.calls, strict=True)), effort, reference.clock)
    rounds: list[Round] = []
    wanted = effort.repeats * count * len(pairs)
    for _ in range(effort.most):
        rounds += _repeat(pairs, count)
        times = np.array(rounds)
        fastest = _fastest(times)
        slowed = max(1.0, fastest.min() / reference.fastest_ms)
        slowness = times[:, 2:].max(1) / fastest[times[:, 0].astype(int)] * slowed
        if (calm := int((slowness <= CALM).sum())) >= wanted:
            break
    kept = np.sort(np.argsort(slowness, kind="stable")[: max(calm, LEAST_ROUNDS * effort.repeats)])
    ratios = times[kept, 1] / times[kept, 2:].mean(1)
    repeats = [float(np.median(part)) for part in np.array_split(ratios, effort.repeats)]
    spread = (max(repeats) - min(repeats)) / median(repeats)
    reference.fastest_ms = min(reference.fastest_ms, float(fastest.min()))
    return Compared(float(np.median(times[kept, 1])), median(repeats), spread, float(fastest.min()))


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


def _repeat(pairs: Sequence[Pair], count: int) -> Iterator[Round]:
    for copy, (block, reference) in enumerate(pairs):
        before = reference()
        for _ in range(count):
            own, after = block(), reference()
            yield Round(copy, own, before, after)
            before = after


def _fastest(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each copy of the reference takes when nothing disturbs it; the very least may be an error of the clock."""
    copies = range(int(times[:, 0].max()) + 1)
    return np.array([np.percentile(times[times[:, 0] == copy, 2], 5) for copy in copies])


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
    """An exported model, loaded several times, so that no single place in memory decides its speed.

    Attributes:
        clock: by which it is timed: CPU time of the thread that calls, or the clock on the wall if others work, too.
    """

    def __init__(self, model: OnnxModel, runtime: str = runtimes.DEFAULT, threads: int = 1) -> None:
        self._sessions = [runtimes.load(runtime, model.data, threads) for _ in range(COPIES)]
        self.clock: Clock = time.thread_time if threads == 1 else time.perf_counter

    def calls(self, *inputs: Tensor) -> list[Call]:
        """What calls each of the copies on these inputs, in the thread that calls."""
        arrays = [np.ascontiguousarray(own.numpy()) for own in inputs]
        return [partial(session, *arrays) for session in self._sessions]

    def reference(self, *inputs: Tensor) -> Reference:
        """The same, for others to be compared with."""
        return Reference(self.calls(*inputs), self.clock)


def measure_latency(model: Loaded, dense: Reference, example_input: Tensor) -> dict[str, float]:
    """Latency of an exported model for one unit of work, a batch of one, its calls interleaved with the dense model's.

    Absolute figures depend on the machine, and those by the clock on the wall on what else it does; the ratio is
    what is compared.
    """
    calls = model.calls(example_input)
    compared = compare_times(calls, dense)
    wall_ms = call_times_ms(calls[0])
    return {
        "latency_ms": compared.own_ms,
        "latency_ratio": compared.ratio,
        "latency_spread": compared.spread,
        "latency_dense_ms": compared.reference_ms,
        "latency_wall_ms": float(np.median(wall_ms)),  # of single calls, by the clock on the wall
        "latency_p95_ms": float(np.percentile(wall_ms, 95)),
    }


def eager_call(model: nn.Module, inputs: Tensor) -> Call:
    """One pass of a module in PyTorch, without autograd; the caller sees to it that PyTorch has one thread."""
    return partial(torch.inference_mode()(model.eval()), inputs)
