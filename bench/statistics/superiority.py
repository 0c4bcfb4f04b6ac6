"""How probable it is that a run of one method is better than a run of another."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics.bootstrap import DEFAULT, Draw, Resampling, interval
from bench.statistics.estimate import Estimate, Over, Sign
from bench.statistics.pairs import Sides, side_by_side


@dataclass(frozen=True)
class Superiority(Estimate):
    """The probability that a run of the first method is better; ``n`` is the pairs, or the runs of the smaller side.

    Attributes:
        paired: whether runs were compared seed by seed.
    """

    paired: bool = False


def probability_better(
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    sign: Sign,
    paired: bool | None = None,
    resampling: Resampling = DEFAULT,
) -> Superiority:
    """P(A > B): how probable it is that a run of A is better than one of B; ties count half.

    Paired, it is the share of the seeds where A is better, which cancels what both owe to the seed (Bouthillier et al.
    2021, arXiv 2103.03098, who draw pairs again for the interval). Unpaired, it is the share over all couples: the
    statistic of Mann and Whitney (1947) over its largest value. The two ask different things where seeds matter.

    Where all couples agree, no resample can differ and the bootstrap would claim certainty. There the interval is exact
    instead (Clopper and Pearson 1934): an outcome seen n times out of n may have a probability as small as
    (alpha / 2) ** (1 / n), and the rest may fall to either side.

    Args:
        first: score of A by seed, such as the hypervolume; failures as the worst score.
        second: score of B by seed.
        sign: 1 where small scores are good, -1 where large ones are (hypervolume).
        paired: by seed or not; None: by seed if they share two or more, and then other seeds do not count.
        resampling: how the interval is drawn.

    Returns:
        From 0 to 1; 0.5: no difference. Without interval where a side has one run and couples disagree.

    Raises:
        ValueError: a score is NaN, or a side has no runs (paired: no seed is shared).
    """
    sides = side_by_side(first, second, sign, paired)
    n = min(len(sides.first), len(sides.second))
    if not n:
        raise ValueError("no runs to compare: a side is empty, or no seed is shared")
    value, ends = _share(sides, np.arange(n), np.arange(n)), None
    if not sides.paired:
        value = _share(sides, np.arange(len(sides.first)), np.arange(len(sides.second)))
    outcomes = np.unique(_outcomes(sides.first, sides.second, sides.paired))
    if len(outcomes) == 1:
        sure = ((1 - resampling.confidence) / 2) ** (1 / n)
        ends = (sure * float(outcomes[0]), sure * float(outcomes[0]) + 1 - sure)
    elif n > 1:
        ends = _drawn(sides, resampling)
    low, high = ends or (None, None)
    over: Over = "seeds" if ends else "nothing"
    return Superiority(float(value), low, high, over, n, confidence=resampling.confidence, paired=sides.paired)


def _outcomes(first: NDArray[np.float64], second: NDArray[np.float64], paired: bool) -> NDArray[np.float64]:
    """1 where the first is better, 0.5 where they tie, 0 else; shape (..., n), or (..., n, m) if not paired."""
    left, right = (first, second) if paired else (first[..., :, None], second[..., None, :])
    return np.asarray((left < right) + 0.5 * (left == right), dtype=np.float64)


def _share(sides: Sides, first: Draw, second: Draw) -> NDArray[np.float64]:
    outcomes = _outcomes(sides.first[first], sides.second[second], sides.paired)
    return np.asarray(outcomes.mean(axis=-1 if sides.paired else (-2, -1)))


def _drawn(sides: Sides, resampling: Resampling) -> tuple[float, float]:
    numbers = sorted((np.arange(len(side)) for side in (sides.first, sides.second)), key=len)
    if sides.paired:
        return interval(lambda pairs: _share(sides, pairs, pairs), numbers[:1], resampling)
    if len(sides.first) <= len(sides.second):  # the scarcest sample comes first
        return interval(lambda first, second: _share(sides, first, second), numbers, resampling)
    return interval(lambda second, first: _share(sides, first, second), numbers, resampling)
