"""Numbers with their intervals, over seeds and items: the best score within a budget, the least compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # whose parts load when they are first used: its statistics take a second
from numpy.typing import ArrayLike, NDArray

from bench.plugins.task import Metric
from bench.stats.items import RedrawnScores

#: 1 where small scores are good, -1 where large ones are: sign * score is an error
Sign = Literal[1, -1]
SMALL_IS_GOOD: Sign = 1
LARGE_IS_GOOD: Sign = -1

#: nominal share of the intervals that hold the truth
CONFIDENCE = 0.95
#: of the seeds; where items are drawn again, there are as many resamples as draws of them
RESAMPLES = 2000
_ROUNDING = 1e-9  # what means of the same numbers may differ by when they are summed in another order

Array = NDArray[np.float64]
#: numbers of the seeds that were drawn, shape (..., n)
Draw = NDArray[np.intp]


def sign_of(metric: Metric) -> Sign:
    """1 where small scores are good, -1 where large ones are."""
    return SMALL_IS_GOOD if metric.direction == "minimize" else LARGE_IS_GOOD


@dataclass(frozen=True)
class Estimate:
    """A number and how far it can be trusted."""

    value: float  # from all seeds and items; infinite where there is none (nothing within the budget)
    low: float | None  # end of the interval, in the unit of the value; None where nothing could be drawn again
    high: float | None
    n: int  # number of seeds
    items: int = 0  # number of evaluation items drawn again, of which those that depend on each other count once

    @property
    def over(self) -> str:
        """What was drawn again; the interval knows nothing of other sources of chance."""
        drawn = {"seeds": self.n > 1, "items": self.items > 0}
        return " and ".join(name for name, several in drawn.items() if several) or "nothing"


def tail(n: int) -> float:
    """The share of the bootstrap distribution to cut off at either end.

    A plain percentile interval over n seeds is too short: it divides by n instead of n - 1 and takes the normal for
    Student's distribution. The remedy is to cut less (the expanded percentile interval, Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap", The American Statistician 69). Below about five seeds nothing is cut, and
    then the interval is the range of the seeds, which no bootstrap leaves: for means of symmetric scores it cannot hold
    the truth more often than 1 - 2 / 2**n, which is 75 % with three seeds and 94 % with five.

    ``n`` counts the independent units of the scarcest kind and is at least 2.
    """
    student = float(scipy.stats.t.ppf((1 - CONFIDENCE) / 2, n - 1))
    return float(scipy.stats.norm.cdf(math.sqrt(n / (n - 1)) * student))


def interval(statistic: Callable[..., Array], sizes: Sequence[int], resamples: int = RESAMPLES) -> tuple[float, float]:
    """The bootstrap interval of a statistic of one or more samples that are drawn independently of each other.

    The draws are those of ``scipy.stats.bootstrap``, whose interval has no use here: it interpolates, even between
    finite and infinite values, and is not widened.

    Args:
        statistic: maps the numbers drawn from each sample, shapes (resamples, size), to shape (resamples,); may be
            infinite.
        sizes: of the samples, each at least 2, the smallest first.

    Returns:
        Lower and upper end, in the unit of the statistic: values that were drawn. The same data give the same interval.

    Raises:
        ValueError: the statistic is NaN.
    """
    rng = np.random.default_rng(0)
    return ends(statistic(*[rng.integers(0, size, (resamples, size)) for size in sizes]), sizes[0])


def ends(values: Array, n: int) -> tuple[float, float]:
    """The ends of the percentile interval, widened for few units.

    Args:
        values: of the statistic, one for each resample; they may be infinite.
        n: see ``tail``.

    Raises:
        ValueError: a value is NaN.
    """
    if np.isnan(values).any():
        raise ValueError("the statistic is NaN for some resamples: pass failures as infinite errors")
    ordered = np.sort(values)
    cut = math.floor(tail(n) * (len(ordered) - 1))
    return float(ordered[cut]), float(ordered[-1 - cut])


@dataclass(frozen=True)
class SeedScores:
    """Costs and errors (score times sign) of the points of each seed."""

    costs: Array  # shape (seeds, points); 0 for failed trials
    errors: Array  # shape (seeds, points); infinite for failed trials
    redrawn: Array | None  # errors on each draw of the items, shape (resamples, seeds, points); None if not known

    @classmethod
    def checked(cls, costs: ArrayLike, scores: ArrayLike, sign: Sign, redrawn: RedrawnScores | None) -> SeedScores:
        """Take costs and scores as they come from outside.

        Raises:
            ValueError: shapes differ or are empty, a score is NaN or infinitely good, or a finished trial has no cost
                or no redrawn score.
        """
        cost, error = np.asarray(costs, dtype=np.float64), sign * np.asarray(scores, dtype=np.float64)
        if cost.shape != error.shape or error.ndim != 2 or not error.size:
            raise ValueError(f"costs {cost.shape} and scores {error.shape} must both have shape (seeds, points)")
        if np.isnan(error).any() or (error == -np.inf).any():
            raise ValueError("a score is NaN or infinitely good: pass failures as the worst score")
        failed = np.isinf(error)
        if not np.isfinite(cost[~failed]).all():
            raise ValueError("a finished trial has no finite cost")
        if redrawn is None:
            return cls(np.where(failed, 0.0, cost), error, None)
        if redrawn.scores.shape[1:] != error.shape:
            expected = ("resamples", *error.shape)
            raise ValueError(f"redrawn scores have shape {redrawn.scores.shape}, expected {expected}")
        if np.isnan(redrawn.scores[:, ~failed]).any():
            raise ValueError("a redrawn score of a finished trial is NaN")
        return cls(np.where(failed, 0.0, cost), error, np.where(failed, np.inf, sign * redrawn.scores))

    def mean_errors(self, seeds: Draw, redraw: bool) -> Array:
        """Mean over the seeds of each draw, shape (..., points).

        With ``redraw`` the items are drawn along, where they are known: then ``seeds`` has shape (resamples, n).
        """
        if self.redrawn is None or not redraw:
            return np.asarray(self.errors[seeds].mean(axis=-2))
        return np.asarray(np.take_along_axis(self.redrawn, seeds[..., None], axis=-2).mean(axis=-2))

    def mean_costs(self, seeds: Draw) -> Array:
        return np.asarray(self.costs[seeds].mean(axis=-2))


def estimate(statistic: Callable[[Draw, bool], Array], seeds: int, redrawn: RedrawnScores | None) -> Estimate:
    """The value of a statistic, and its interval over seeds and items, as far as there is more than one.

    Seeds cross items, so each resample draws both: the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics
    1), which errs on the wide side. All statistics share the draws of the items.

    Args:
        statistic: maps numbers of seeds, shape (..., n), and whether items are drawn along, to shape (...).
        seeds: how many there are.
        redrawn: scores on other draws of the items, where they are known.
    """
    value = float(statistic(np.arange(seeds), False))
    low, high = None, None
    if seeds > 1:
        resamples = RESAMPLES if redrawn is None else len(redrawn.scores)
        low, high = interval(lambda drawn: statistic(drawn, redrawn is not None), [seeds], resamples)
    elif redrawn is not None:
        only = np.zeros((len(redrawn.scores), 1), dtype=np.intp)
        low, high = ends(statistic(only, True), redrawn.units)
    return Estimate(value, low, high, seeds, 0 if redrawn is None else redrawn.units)


def mean_of(values: Array) -> Estimate:
    """The mean of one value a seed, shape (seeds,), with its interval over seeds."""

    def statistic(seeds: Draw, _: bool) -> Array:
        return np.asarray(values[seeds].mean(axis=-1))

    return estimate(statistic, len(values), None)


def best_within(
    costs: ArrayLike,
    scores: ArrayLike,
    budget: float,
    *,
    sign: Sign,
    dev: ArrayLike | None = None,
    redrawn: RedrawnScores | None = None,
) -> Estimate:
    """The best mean score among the points whose mean cost is within the budget.

    A point is one setting (budget and trial) of a method, trained from several seeds; a point one of whose seeds failed
    does not count. For a camp, put the points of its methods side by side. Every resample chooses its point anew (Efron
    and Tibshirani 1993; Bouthillier et al. 2021, arXiv 2103.03098, for which sources of chance matter).

    Args:
        costs: shares of the dense compute, shape (seeds, points); not used where the trial failed.
        scores: of the same trials, in the unit of the metric; failures as the worst score, ``sign * inf``.
        budget: share of the dense compute.
        sign: 1 where small scores are good, -1 where large ones are.
        dev: scores that choose the point, likewise; without them ``scores`` choose, which flatters noisy points.
        redrawn: ``scores`` on other draws of the items, where they are known.

    Returns:
        In the unit of the metric; ``sign * inf`` where no point is within the budget.

    Raises:
        ValueError: see ``SeedScores.checked``.
    """
    own = SeedScores.checked(costs, scores, sign, redrawn)
    chooser = None if dev is None else SeedScores.checked(costs, dev, sign, None)

    def statistic(seeds: Draw, redraw: bool) -> Array:
        errors = own.mean_errors(seeds, redraw)
        choose_by = errors if chooser is None else chooser.mean_errors(seeds, redraw=False)
        reached = own.mean_costs(seeds) <= budget * (1 + _ROUNDING)
        ranked = np.where(reached & np.isfinite(errors), choose_by, np.inf)
        chosen = np.take_along_axis(errors, ranked.argmin(axis=-1)[..., None], axis=-1)[..., 0]
        return sign * np.where(np.isfinite(ranked).any(axis=-1), chosen, np.inf)

    return estimate(statistic, len(own.errors), redrawn)


def least_cost_no_worse(
    costs: ArrayLike,
    scores: ArrayLike,
    level: ArrayLike,
    *,
    sign: Sign,
    redrawn: RedrawnScores | None = None,
    level_redrawn: RedrawnScores | None = None,
) -> Estimate:
    """The least mean cost among the points whose mean score is no worse than a level: the dense model's.

    Args:
        costs, scores, sign, redrawn: see ``best_within``.
        level: the dense model's score with each of the same seeds, shape (seeds,); drawn along with them.
        level_redrawn: the dense model's scores on the same draws, as one point.

    Returns:
        A share of the dense compute; infinite where no point is as good. The ends of the interval are costs of
        existing points, so few points make it coarse.

    Raises:
        ValueError: see ``SeedScores.checked``; the level has another number of seeds; or only one of scores and level
            comes with redrawn scores, or with other draws.
    """
    own = SeedScores.checked(costs, scores, sign, redrawn)
    column = np.asarray(level, dtype=np.float64)[..., None]
    if column.shape != (len(own.errors), 1):
        raise ValueError(f"the level has shape {column.shape[:-1]}, expected ({len(own.errors)},)")
    if redrawn is not None and level_redrawn is None:
        raise ValueError("the scores are redrawn, so the level needs redrawn scores too")
    if level_redrawn is not None and (redrawn is None or len(level_redrawn.scores) != len(redrawn.scores)):
        raise ValueError("the level was redrawn in other draws of the items than the scores")
    levels = SeedScores.checked(np.ones_like(column), column, sign, level_redrawn)

    def statistic(seeds: Draw, redraw: bool) -> Array:
        errors, at_most = own.mean_errors(seeds, redraw), levels.mean_errors(seeds, redraw)
        spare = np.where(np.isfinite(at_most), _ROUNDING * np.abs(at_most), 0.0)
        as_good = np.isfinite(errors) & (errors <= at_most + spare)
        return np.asarray(np.where(as_good, own.mean_costs(seeds), np.inf).min(axis=-1))

    return estimate(statistic, len(own.errors), redrawn)
