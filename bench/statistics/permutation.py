"""Whether the difference between two methods is more than chance, and whether so few seeds can tell at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.statistics.estimate import Sign
from bench.statistics.pairs import Sides, side_by_side

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
