"""Whether the difference between two methods is more than chance, and whether so few seeds can tell at all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.stats.estimates import DEFAULT, Draw, Estimate, Over, Resampling, Sign, interval


@dataclass(frozen=True)
class Sides:
    """Errors (small is good) of two methods.

    Attributes:
        first: shape (n,).
        second: shape (m,); where ``paired``, m = n and both are in the order of the seeds.
        paired: whether the entries belong together.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    paired: bool


def side_by_side(first: Mapping[int, float], second: Mapping[int, float], sign: Sign, paired: bool | None) -> Sides:
    """The runs to compare: those of the seeds that both have, or all of both.

    Args:
        first: score by seed.
        second: likewise.
        sign: 1 where small scores are good, -1 where large ones are.
        paired: by seed or not; None: by seed if they share two or more.

    Raises:
        ValueError: a score is NaN.
    """
    if any(np.isnan(score) for scores in (first, second) for score in scores.values()):
        raise ValueError("a score is NaN: pass failures as the worst score")
    shared = sorted(first.keys() & second.keys())
    by_seed = len(shared) >= 2 if paired is None else paired

    def errors(scores: Mapping[int, float]) -> NDArray[np.float64]:
        return np.array([sign * scores[seed] for seed in (shared if by_seed else sorted(scores))], dtype=np.float64)

    return Sides(errors(first), errors(second), by_seed)


TOO_FEW = "too few seeds to tell"


@dataclass(frozen=True)
class Comparison:
    """The outcome of a permutation test.

    Attributes:
        advantage: by how much the mean of the first method is better, in the unit of the scores; None if runs failed.
        p: two-sided; None where no outcome could have been significant.
        smallest: the smallest p that so many seeds can give.
        paired: whether signs were flipped seed by seed; else runs were dealt anew.
        first: runs of the first method that were compared.
        second: runs of the second.
        exact: whether all permutations were counted; else a random draw of them.
        ranks: whether ranks were compared, as some scores are infinite; else means.
        sentence: the outcome in words.
    """

    advantage: float | None
    p: float | None
    smallest: float
    paired: bool
    first: int
    second: int
    exact: bool
    ranks: bool
    sentence: str


def smallest_p(first: int, second: int | None = None) -> float:
    """The smallest two-sided p that a permutation test can give: 2 over the number of permutations, at most 1.

    Args:
        first: pairs if ``second`` is None; else runs of one side.
        second: runs of the other side.

    >>> smallest_p(5), smallest_p(6), round(smallest_p(4, 4), 4)
    (0.0625, 0.03125, 0.0286)
    """
    return min(1.0, 2 / (2**first if second is None else math.comb(first + second, first)))


def seeds_needed(*, paired: bool, level: float = 0.05, comparisons: int = 1) -> int:
    """The least number of seeds (of each side) whose smallest p is below the level.

    Args:
        paired: pairs by seed, or as many runs on either side.
        level: of significance, above 0.
        comparisons: size of the family; Holm's correction asks that much more of its first member.

    >>> seeds_needed(paired=True), seeds_needed(paired=False), seeds_needed(paired=True, comparisons=10)
    (6, 4, 9)
    """
    n = 1
    while smallest_p(n, None if paired else n) >= level / comparisons:
        n += 1
    return n


def compare(
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    sign: Sign,
    paired: bool | None = None,
    level: float = 0.05,
    comparisons: int = 1,
    resamples: int = 19_999,
    seed: int = 0,
) -> Comparison:
    """A permutation test between two methods (Fisher 1935; Pitman 1937), exact where there are few permutations.

    Paired, it asks whether the differences by seed are as likely to have the other sign; unpaired, whether runs could
    have been dealt to the methods in any other way. Where a score is infinite, ranks stand in for the numbers
    (Wilcoxon 1945), ties sharing theirs. p is twice the smaller tail.

    Args:
        first: score by seed, such as the hypervolume; failures as the worst score.
        second: score by seed.
        sign: 1 where small scores are good, -1 where large ones are (hypervolume).
        paired: by seed or not; None: by seed if they share two or more, and then other seeds do not count.
        level: of significance.
        comparisons: how many comparisons are made together; hand their p-values to ``holm``.
        resamples: permutations drawn where there are more of them than this; else all are counted.
        seed: of that draw.

    Returns:
        Without p where the smallest p that so many seeds can give is not below ``level / comparisons``, so that it
        could not be the first that Holm's correction lets pass.

    Raises:
        ValueError: a score is NaN.
    """
    sides = side_by_side(first, second, sign, paired)
    n, m = len(sides.first), len(sides.second)
    smallest = smallest_p(n, None if sides.paired else m)
    ranks = not np.isfinite(np.r_[sides.first, sides.second]).all()
    advantage = None if ranks or not min(n, m) else float(sides.second.mean() - sides.first.mean())
    if smallest >= level / comparisons:
        needed = _too_few(sides, smallest, level, comparisons)
        return Comparison(advantage, None, smallest, sides.paired, n, m, exact=True, ranks=ranks, sentence=needed)
    exact = (2**n if sides.paired else math.comb(n + m, n)) <= resamples
    p = _tested(sides, ranks, resamples, seed)
    how = f"{'exact' if exact else 'random'} permutation test of {'ranks' if ranks else 'means'}"
    sentence = f"p = {p:.2g} ({how}, {_runs(n, m, sides.paired)})"
    return Comparison(advantage, p, smallest, sides.paired, n, m, exact, ranks, sentence)


def _tested(sides: Sides, ranks: bool, resamples: int, seed: int) -> float:
    def mean(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(np.round(values.mean(axis=axis), 12))  # sums in another order must still count as ties

    def gap(left: NDArray[np.float64], right: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(np.round(left.mean(axis=axis) - right.mean(axis=axis), 12))

    rng = np.random.default_rng(seed)
    if sides.paired:
        signs = _scaled(_signed(sides, ranks))
        if not signs.any():
            return 1.0
        return float(
            stats.permutation_test(
                (signs,), mean, permutation_type="samples", vectorized=True, n_resamples=resamples, rng=rng
            ).pvalue
        )
    pooled = np.r_[sides.first, sides.second]
    pooled = stats.rankdata(pooled) if ranks else pooled
    pooled = _scaled(pooled - pooled.mean())
    data = pooled[: len(sides.first)], pooled[len(sides.first) :]
    return float(stats.permutation_test(data, gap, vectorized=True, n_resamples=resamples, rng=rng).pvalue)


def _signed(sides: Sides, ranks: bool) -> NDArray[np.float64]:
    """Differences by seed; with ranks, the ranks of their sizes with their signs, two failures being no difference."""
    if not ranks:
        return sides.first - sides.second
    same = sides.first == sides.second
    gaps = np.where(same, 0.0, np.where(same, 0.0, sides.first) - np.where(same, 0.0, sides.second))
    signed: NDArray[np.float64] = np.sign(gaps) * stats.rankdata(np.abs(gaps))
    return signed


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values).max()
    return values / size if size else values


def _too_few(sides: Sides, smallest: float, level: float, comparisons: int) -> str:
    pairs, each = (seeds_needed(paired=which, level=level, comparisons=comparisons) for which in (True, False))
    family = f" for one of {comparisons} comparisons" if comparisons > 1 else ""
    runs = _runs(len(sides.first), len(sides.second), sides.paired)
    return (
        f"{TOO_FEW}: with {runs} no p-value can be below {smallest:.2g}; significance at {level:g}{family} needs "
        f"{pairs} paired seeds, or {each} + {each} unpaired ones"
    )


def _runs(first: int, second: int, paired: bool) -> str:
    return f"{first} paired seed{'s' * (first != 1)}" if paired else f"{first} + {second} unpaired seeds"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted so that the chance of any false alarm in the family stays below the level (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none may fall below the one before it.

    Args:
        p_values: each in [0, 1]; None where there was no test, which then does not count towards the family: that is
            decided by the number of seeds, not by what they scored.

    Returns:
        In the order of the arguments, at most 1; None where there was no test.

    Raises:
        ValueError: a p-value outside [0, 1].

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    tested = [index for index, p in enumerate(p_values) if p is not None]
    given = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("a p-value lies outside [0, 1]")
    order = np.argsort(given, kind="stable")
    steps = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    adjusted: list[float | None] = [None] * len(p_values)
    for place, step in zip(order, steps, strict=True):
        adjusted[tested[place]] = float(step)
    return adjusted


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
