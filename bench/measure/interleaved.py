"""Two callables timed against each other, so that what disturbs one of them disturbs the other as well."""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

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
