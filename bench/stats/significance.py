"""Whether the difference between two methods is more than chance, and whether so few seeds can tell at all."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from bench.stats.estimates import CONFIDENCE, Array, Draw, Estimate, Sign, interval

#: of significance
LEVEL = 0.05
#: probability that a test finds a difference that is there
POWER = 0.8
#: drawn where there are more than this; else all are counted
PERMUTATIONS = 19_999
TOO_FEW = "too few seeds to tell"


@dataclass(frozen=True)
class _Sides:
    """Errors (small is good) of two methods, shapes (n,) and (m,); paired, both are in the order of the seeds."""

    first: Array
    second: Array
    paired: bool

    def __str__(self) -> str:
        n, m = len(self.first), len(self.second)
        return f"{n} paired seed{'s' * (n != 1)}" if self.paired else f"{n} + {m} unpaired seeds"


def _sides(first: Mapping[int, float], second: Mapping[int, float], sign: Sign, paired: bool | None) -> _Sides:
    if any(np.isnan(score) for scores in (first, second) for score in scores.values()):
        raise ValueError("a score is NaN: pass failures as the worst score")
    shared = sorted(first.keys() & second.keys())
    by_seed = len(shared) >= 2 if paired is None else paired

    def errors(scores: Mapping[int, float]) -> Array:
        return np.array([sign * scores[seed] for seed in (shared if by_seed else sorted(scores))], dtype=np.float64)

    return _Sides(errors(first), errors(second), by_seed)


@dataclass(frozen=True)
class PermutationOutcome:
    """What a permutation test found."""

    advantage: float | None  # of the mean of the first method, in the unit of the scores; None if trials failed
    p: float | None  # two-sided; None where no outcome could have been significant
    sentence: str  # the outcome in words


def smallest_p(first: int, second: int | None = None) -> float:
    """The smallest two-sided p that a permutation test can give: 2 over the number of permutations, at most 1.

    Args:
        first: number of pairs if ``second`` is None; else of seeds of one side.
        second: number of seeds of the other side.

    >>> smallest_p(5), smallest_p(6), round(smallest_p(4, 4), 4)
    (0.0625, 0.03125, 0.0286)
    """
    return min(1.0, 2 / (2**first if second is None else math.comb(first + second, first)))


def seeds_needed(*, paired: bool, family: int = 1) -> int:
    """The least number of seeds (of each side) whose smallest p is below ``LEVEL``.

    Args:
        paired: pairs by seed, or as many seeds on either side.
        family: number of tests made together; Holm's correction asks that much more of the first of them.

    >>> seeds_needed(paired=True), seeds_needed(paired=False), seeds_needed(paired=True, family=10)
    (6, 4, 9)
    """
    n = 1
    while smallest_p(n, None if paired else n) >= LEVEL / family:
        n += 1
    return n


def seeds_to_tell(gap: float, spread: float) -> float:
    """About how many paired seeds tell a gap from chance with a probability of ``POWER``, if it is what was seen.

    Normal approximation of a two-sided test at ``LEVEL``, never fewer than ``seeds_needed``; infinite without a gap.

    Args:
        gap: mean difference between two methods.
        spread: standard deviation of the difference between seeds.

    >>> seeds_to_tell(1.0, 1.0), seeds_to_tell(1.0, 0.1), seeds_to_tell(0.0, 1.0)
    (8.0, 6.0, inf)
    """
    quantiles = float(scipy.stats.norm.ppf(1 - LEVEL / 2) + scipy.stats.norm.ppf(POWER))
    asked = (quantiles * spread / gap) ** 2 if gap else math.inf
    return float(max(seeds_needed(paired=True), np.ceil(asked)))


def permutation_test(
    first: Mapping[int, float], second: Mapping[int, float], *, sign: Sign, paired: bool | None = None, family: int = 1
) -> PermutationOutcome:
    """Test the difference between two methods (Fisher 1935; Pitman 1937), exactly where there are few permutations.

    Paired, it asks whether the differences by seed are as likely to have the other sign; unpaired, whether the scores
    could have been dealt to the methods in any other way. Where a score is infinite, ranks stand in for the numbers
    (Wilcoxon 1945), ties sharing theirs. p is twice the smaller tail.

    Args:
        first: score by seed, such as the hypervolume; failures as the worst score.
        second: likewise.
        sign: 1 where small scores are good, -1 where large ones are (hypervolume).
        paired: by seed or not; None: by seed if they share two or more, and then other seeds do not count.
        family: number of tests made together; hand their p-values to ``holm``.

    Returns:
        Without p where the smallest p that so many seeds can give is not below ``LEVEL / family``, so that it could
        not be the first that Holm's correction lets pass.

    Raises:
        ValueError: a score is NaN.
    """
    sides = _sides(first, second, sign, paired)
    n, m = len(sides.first), len(sides.second)
    smallest = smallest_p(n, None if sides.paired else m)
    ranks = not np.isfinite(np.r_[sides.first, sides.second]).all()
    advantage = None if ranks or not min(n, m) else float(sides.second.mean() - sides.first.mean())
    if smallest >= LEVEL / family:
        return PermutationOutcome(advantage, None, _too_few(sides, smallest, family))
    exact = (2**n if sides.paired else math.comb(n + m, n)) <= PERMUTATIONS
    p = _p_paired(sides, ranks) if sides.paired else _p_unpaired(sides, ranks)
    how = f"{'exact' if exact else 'random'} permutation test of {'ranks' if ranks else 'means'}"
    return PermutationOutcome(advantage, p, f"p = {p:.2g} ({how}, {sides})")


def _too_few(sides: _Sides, smallest: float, family: int) -> str:
    pairs, each = (seeds_needed(paired=which, family=family) for which in (True, False))
    together = f" for one of {family} tests" if family > 1 else ""
    return (
        f"{TOO_FEW}: with {sides} no p-value can be below {smallest:.2g}; significance at {LEVEL:g}{together} needs "
        f"{pairs} paired seeds, or {each} + {each} unpaired ones"
    )


def _p_paired(sides: _Sides, ranks: bool) -> float:
    with np.errstate(invalid="ignore"):
        gaps = np.where(sides.first == sides.second, 0.0, sides.first - sides.second)  # two failures: no difference
    signed = _scaled(np.sign(gaps) * scipy.stats.rankdata(np.abs(gaps)) if ranks else gaps)
    return _tested((signed,), lambda values, axis: values.mean(axis=axis), "samples") if signed.any() else 1.0


def _p_unpaired(sides: _Sides, ranks: bool) -> float:
    pooled = np.r_[sides.first, sides.second]
    pooled = scipy.stats.rankdata(pooled) if ranks else pooled
    dealt = np.split(_scaled(pooled - pooled.mean()), [len(sides.first)])
    return _tested(dealt, lambda left, right, axis: left.mean(axis=axis) - right.mean(axis=axis), "independent")


def _tested(data: Sequence[Array], statistic: Callable[..., Array], kind: Literal["samples", "independent"]) -> float:
    def rounded(*samples: Array, axis: int) -> Array:
        return np.round(statistic(*samples, axis=axis), 12)  # sums in another order must still count as ties

    found = scipy.stats.permutation_test(
        data, rounded, permutation_type=kind, vectorized=True, n_resamples=PERMUTATIONS, rng=np.random.default_rng(0)
    )
    return float(found.pvalue)


def _scaled(values: Array) -> Array:
    """The values over the largest, so that rounding to decimals is relative."""
    size = np.abs(values).max()
    return values / size if size else values


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
        raise ValueError(f"a p-value lies outside [0, 1]: {given.tolist()}")
    order = np.argsort(given, kind="stable")
    steps = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    adjusted: list[float | None] = [None] * len(p_values)
    for place, step in zip(order, steps, strict=True):
        adjusted[tested[place]] = float(step)
    return adjusted


def probability_better(first: Mapping[int, float], second: Mapping[int, float], *, sign: Sign) -> Estimate:
    """P(A > B): how probable it is that a trial of A is better than one of B; ties count half.

    With two or more shared seeds it is the share of them where A is better, which cancels what both owe to the seed
    (Bouthillier et al. 2021, arXiv 2103.03098, who draw pairs again for the interval). With fewer it is the share over
    all couples: the statistic of Mann and Whitney (1947) over its largest value. The two ask different things where
    seeds matter.

    Where all couples agree, no resample can differ and the bootstrap would claim certainty. There the interval is exact
    instead (Clopper and Pearson 1934): an outcome seen n times out of n may have a probability as small as
    (alpha / 2) ** (1 / n), and the rest may fall to either side.

    Arguments are those of ``permutation_test``, A first.

    Returns:
        From 0 to 1; 0.5: no difference. ``n`` counts the shared seeds, or the seeds of the smaller side. Without
        interval where a side has one seed and couples disagree.

    Raises:
        ValueError: a score is NaN, or a side is empty.
    """
    sides = _sides(first, second, sign, paired=None)
    sizes = sorted((len(sides.first), len(sides.second)))
    if not (n := sizes[0]):
        raise ValueError(f"no scores to compare: one side has {len(first)} seeds, the other {len(second)}")
    outcomes = _outcomes(sides.first, sides.second, sides.paired)
    low, high = None, None
    if (outcomes == outcomes.flat[0]).all():
        sure = ((1 - CONFIDENCE) / 2) ** (1 / n)
        low = sure * float(outcomes.flat[0])
        high = low + 1 - sure
    elif sides.paired:
        low, high = interval(lambda pairs: _share(sides, pairs, pairs), [n])
    elif n > 1:
        turned = len(sides.first) > len(sides.second)  # the smaller side is drawn first
        low, high = interval(lambda *drawn: _share(sides, *(drawn[::-1] if turned else drawn)), sizes)
    return Estimate(float(outcomes.mean()), low, high, n)


def _outcomes(first: Array, second: Array, paired: bool) -> Array:
    """1 where the first is better, 0.5 where they tie, 0 else; shape (..., n), or (..., n, m) if not paired."""
    left, right = (first, second) if paired else (first[..., :, None], second[..., None, :])
    return np.asarray((left < right) + 0.5 * (left == right), dtype=np.float64)


def _share(sides: _Sides, first: Draw, second: Draw) -> Array:
    outcomes = _outcomes(sides.first[first], sides.second[second], sides.paired)
    return np.asarray(outcomes.mean(axis=-1 if sides.paired else (-2, -1)))
