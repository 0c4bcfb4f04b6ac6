"""Numbers with their intervals: over seeds and items, for the best score within a budget and the least compute."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bench.plugins.task import Metric
from bench.stats.items import Items

#: 1 where small scores are good, -1 where large ones are: sign * score is an error
Sign = Literal[1, -1]
SMALL_IS_GOOD: Sign = 1
LARGE_IS_GOOD: Sign = -1

Over = Literal["seeds and items", "seeds", "items", "nothing"]


def sign_of(metric: Metric) -> Sign:
    """1 where small scores are good, -1 where large ones are."""
    return SMALL_IS_GOOD if metric.direction == "minimize" else LARGE_IS_GOOD


@dataclass(frozen=True)
class Estimate:
    """A number and how far it can be trusted.

    Attributes:
        value: the number itself, from all seeds and items; infinite where there is none (nothing within the budget).
        low: lower end of the interval, in the unit of the value; None where nothing could be drawn again (one seed).
        high: upper end, likewise.
        over: what was drawn again; the interval knows nothing of other sources of chance.
        n: number of seeds.
        items: number of evaluation items drawn again; 0 where ``over`` does not name them.
        confidence: nominal share of such intervals that hold the truth.
    """

    value: float
    low: float | None
    high: float | None
    over: Over
    n: int
    items: int = 0
    confidence: float = 0.95


Draw = NDArray[np.intp]
#: maps what was drawn from each sample, shapes (..., n of that sample), to the statistic, shape (...)
Statistic = Callable[..., NDArray[np.float64]]


@dataclass(frozen=True)
class Resampling:
    """How an interval is drawn.

    Attributes:
        resamples: number of resamples.
        confidence: nominal share of such intervals that hold the truth, in (0, 1).
        method: ``percentile``, widened for few seeds, or ``bca`` (Efron 1987), which corrects bias and skewness but
            not the small number of seeds, and is not meant for statistics that jump, such as a minimum; where it does
            not exist (equal values, infinite ones) the percentile interval is given.
        seed: of the generator; the same seed gives the same interval.
    """

    resamples: int = 2000
    confidence: float = 0.95
    method: Literal["percentile", "bca"] = "percentile"
    seed: int = 0


DEFAULT = Resampling()


def tail(n: int, confidence: float) -> float:
    """The share of the bootstrap distribution that is cut off at either end.

    A plain percentile interval over n seeds is too short: it divides by n instead of n - 1 and takes the normal for
    Student's distribution. The remedy is to cut less (the expanded percentile interval, Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap", The American Statistician 69). Below about five seeds nothing is cut, and
    then the interval is the range of the seeds, which no bootstrap leaves: for means of symmetric scores it cannot hold
    the truth more often than 1 - 2 / 2**n, which is 75 % with three seeds and 94 % with five.

    Args:
        n: independent units of the scarcest kind, at least 2.
        confidence: nominal coverage.
    """
    student = float(stats.t.ppf((1 - confidence) / 2, n - 1))
    return float(stats.norm.cdf(math.sqrt(n / (n - 1)) * student))


def interval(statistic: Statistic, samples: Sequence[Draw], resampling: Resampling) -> tuple[float, float]:
    """The bootstrap interval of a statistic of one or more samples that are drawn independently of each other.

    Args:
        statistic: see ``Statistic``; its values may be infinite, but not NaN.
        samples: the numbers of what can be drawn, each of shape (n,) with n at least 2; the first is the scarcest. All
            resamples are drawn in one call of the statistic.
        resampling: how.

    Returns:
        Lower and upper end, in the unit of the statistic. Ends lie on values that were drawn, never between a finite
        and an infinite one.

    Raises:
        ValueError: a sample has fewer than two entries, or the statistic is NaN.
    """

    def along_last(*drawn: Draw, axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(statistic(*drawn), dtype=np.float64)

    def drawn(**options: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # degenerate data, which is looked at below
            return stats.bootstrap(
                tuple(samples),
                along_last,
                confidence_level=resampling.confidence,
                vectorized=True,
                **options,
            )

    plain = drawn(n_resamples=resampling.resamples, method="percentile", rng=np.random.default_rng(resampling.seed))
    values = cast("NDArray[np.float64]", plain.bootstrap_distribution)
    percentiles = ends(values, len(samples[0]), resampling.confidence)
    if resampling.method == "bca" and np.isfinite(values).all() and values.min() < values.max():
        corrected = drawn(n_resamples=0, method="BCa", bootstrap_result=plain).confidence_interval
        if np.isfinite([corrected.low, corrected.high]).all():
            return float(corrected.low), float(corrected.high)
    return percentiles


def ends(values: NDArray[np.float64], n: int, confidence: float) -> tuple[float, float]:
    """The ends of the percentile interval, widened for few units.

    Args:
        values: of the statistic, one for each resample; they may be infinite.
        n: independent units of the scarcest kind, at least 2.
        confidence: nominal coverage.

    Raises:
        ValueError: a value is NaN.
    """
    if np.isnan(values).any():
        raise ValueError("the statistic is not a number for some resamples: pass failures as infinite errors")
    ordered = np.sort(values)
    cut = math.floor(tail(n, confidence) * (len(ordered) - 1))
    return float(ordered[cut]), float(ordered[len(ordered) - 1 - cut])


Array = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """Costs and errors (score times sign) of runs.

    Attributes:
        costs: shape (seeds, points); 0 for failed runs.
        errors: shape (seeds, points); infinite for failed runs.
        drawn: errors on each draw of the items, shape (resamples, seeds, points); None where items are not known.
    """

    costs: Array
    errors: Array
    drawn: Array | None

    @classmethod
    def checked(cls, costs: ArrayLike, scores: ArrayLike, sign: Sign, items: Items | None) -> Runs:
        """Runs as they come from outside.

        Raises:
            ValueError: shapes differ or are empty, a score is NaN or infinitely good, a finished run has no cost, or
                items belong to other runs.
        """
        cost, error = np.asarray(costs, dtype=np.float64), sign * np.asarray(scores, dtype=np.float64)
        if cost.shape != error.shape or error.ndim != 2 or not error.size:
            raise ValueError(f"costs {cost.shape} and scores {error.shape} must both have shape (seeds, points)")
        if np.isnan(error).any() or (error == -np.inf).any():
            raise ValueError("a score is NaN or infinitely good: pass failures as the worst score")
        failed = np.isinf(error)
        if not np.isfinite(cost[~failed]).all():
            raise ValueError("a finished run has no finite cost")
        return cls(np.where(failed, 0.0, cost), error, None if items is None else _errors(items, failed, sign))

    def mean_errors(self, seeds: Draw, again: bool) -> Array:
        """Mean over the seeds of each draw, shape (..., points).

        Args:
            seeds: numbers of seeds, shape (..., n).
            again: whether the items are drawn along: then ``seeds`` has shape (resamples, n).
        """
        if self.drawn is None or not again:
            return np.asarray(self.errors[seeds].mean(axis=-2))
        return np.asarray(np.take_along_axis(self.drawn, seeds[..., None], axis=-2).mean(axis=-2))

    def mean_costs(self, seeds: Draw) -> Array:
        """Mean over the seeds of each draw, shape (..., points)."""
        return np.asarray(self.costs[seeds].mean(axis=-2))


def _errors(items: Items, failed: NDArray[np.bool_], sign: Sign) -> Array:
    if items.drawn.shape[1:] != failed.shape:
        raise ValueError(f"items belong to runs of shape {items.drawn.shape[1:]}, scores have {failed.shape}")
    if np.isnan(items.drawn[:, ~failed]).any():
        raise ValueError("items give NaN for a finished run")
    return np.where(failed, np.inf, sign * items.drawn)


def estimate(statistic: Statistic, seeds: int, items: Items | None, resampling: Resampling) -> Estimate:
    """The value of a statistic, and its interval over whatever there is more than one of.

    Seeds cross items, so each resample draws both: the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics
    1), which errs on the wide side. The draws of the items are those of ``items``, the same for all statistics.

    Args:
        statistic: maps numbers of seeds, shape (..., n), and whether items are drawn along, to shape (...).
        seeds: how many there are.
        items: what runs score on other draws of the items, where that is known.
        resampling: how; with items always percentiles, of as many resamples as there are draws of the items.
    """
    every = np.arange(seeds)
    value = float(statistic(every, again=False))
    again = items is not None
    if items is not None:
        resampling = replace(resampling, resamples=len(items.drawn), method="percentile")
    low, high = None, None
    if seeds > 1:
        low, high = interval(lambda drawn: statistic(drawn, again=again), [every], resampling)
    elif items is not None:
        values = statistic(np.zeros((len(items.drawn), 1), dtype=np.intp), again=True)
        low, high = ends(values, items.count, resampling.confidence)
    names: dict[tuple[bool, bool], Over]
    names = {(True, True): "seeds and items", (True, False): "seeds", (False, True): "items", (False, False): "nothing"}
    over, count = names[seeds > 1, again], items.count if items else 0
    return Estimate(value, low, high, over, seeds, count, resampling.confidence)


#: what means of the same numbers may differ by when they are summed in another order
_ROUNDING = 1e-9


def best_within(
    costs: ArrayLike,
    scores: ArrayLike,
    budget: float,
    *,
    sign: Sign,
    dev: ArrayLike | None = None,
    items: Items | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """The best mean score among the points whose mean cost is within the budget.

    A point is one setting (budget and trial) of a method, trained from several seeds, as in ``chosen_points``; a point
    one of whose seeds failed does not count. For a camp, put the points of its methods side by side. The interval
    repeats the choice of the point in every resample (Efron and Tibshirani 1993; Bouthillier et al. 2021,
    arXiv 2103.03098, for which sources of chance matter).

    Args:
        costs: shares of the dense compute, shape (seeds, points); not used where the run failed.
        scores: of the same runs, in the unit of the metric; failures as the worst score, ``sign * inf``.
        budget: share of the dense compute.
        sign: 1 where small scores are good, -1 where large ones are.
        dev: scores that choose the point, likewise; without them ``scores`` choose, which flatters noisy points.
        items: the items of ``scores``, where they are known.
        resampling: how the interval is drawn.

    Returns:
        In the unit of the metric; ``sign * inf`` where no point is within the budget.

    Raises:
        ValueError: shapes differ or are empty, a finished run has no cost or no score, or items disagree with scores.
    """
    runs = Runs.checked(costs, scores, sign, items)
    chooser = None if dev is None else Runs.checked(costs, dev, sign, None)
    if chooser is not None and chooser.errors.shape != runs.errors.shape:
        raise ValueError(f"dev scores have shape {chooser.errors.shape}, scores {runs.errors.shape}")

    def statistic(seeds: Draw, again: bool) -> Array:
        errors = runs.mean_errors(seeds, again)
        choose_by = errors if chooser is None else chooser.mean_errors(seeds, again=False)
        reached = runs.mean_costs(seeds) <= budget * (1 + _ROUNDING)
        ranked = np.where(reached & np.isfinite(errors), choose_by, np.inf)
        chosen = np.take_along_axis(errors, ranked.argmin(axis=-1)[..., None], axis=-1)[..., 0]
        return sign * np.where(np.isfinite(ranked).any(axis=-1), chosen, np.inf)

    return estimate(statistic, len(runs.errors), items, resampling)


def least_cost_no_worse(
    costs: ArrayLike,
    scores: ArrayLike,
    level: ArrayLike,
    *,
    sign: Sign,
    items: Items | None = None,
    level_items: Items | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """The least mean cost among the points whose mean score is no worse than a level, such as the dense model's.

    Args:
        costs: shares of the dense compute, shape (seeds, points); not used where the run failed.
        scores: of the same runs, in the unit of the metric; failures as the worst score, ``sign * inf``.
        level: one score for a level that is given; of shape (seeds,) for the dense model's score with each of the same
            seeds, which is then drawn along with them.
        sign: 1 where small scores are good, -1 where large ones are.
        items: the items of ``scores``, where they are known.
        level_items: the same draws of the items, as the dense model scored on them: ``drawn`` has one point.
        resampling: how the interval is drawn.

    Returns:
        A share of the dense compute; infinite where no point is as good. No end of the interval lies between the costs
        of points that exist, so few points make it coarse.

    Raises:
        ValueError: shapes differ or are empty, a finished run has no cost or no score, items disagree with scores, or
            items come without those of a level that belongs to seeds.
    """
    runs = Runs.checked(costs, scores, sign, items)
    count = len(runs.errors)
    given = np.asarray(level, dtype=np.float64)
    if given.shape not in ((), (count,)):
        raise ValueError(f"the level has shape {given.shape}, expected one number or ({count},)")
    if items is not None and given.shape and level_items is None:
        raise ValueError("scores come with items, so the level of each seed needs its items too")
    if level_items is not None and (items is None or level_items.drawn.shape[0] != items.drawn.shape[0]):
        raise ValueError("the level has other draws of the items than the scores")
    column = np.broadcast_to(given, (count,))[:, None]
    levels = Runs.checked(np.ones((count, 1)), column, sign, level_items)

    def statistic(seeds: Draw, again: bool) -> Array:
        errors, at_most = runs.mean_errors(seeds, again), levels.mean_errors(seeds, again)
        spare = np.where(np.isfinite(at_most), _ROUNDING * np.abs(at_most), 0.0)
        as_good = np.isfinite(errors) & (errors <= at_most + spare)
        result: Array = np.where(as_good, runs.mean_costs(seeds), np.inf).min(axis=-1)
        return result

    return estimate(statistic, count, items, resampling)
