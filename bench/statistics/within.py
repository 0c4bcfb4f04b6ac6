"""The best score within a budget and the least compute at no worse a score, with their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bench.statistics.bootstrap import DEFAULT, Draw, Resampling
from bench.statistics.estimate import Estimate, Sign
from bench.statistics.items import Items
from bench.statistics.runs import Array, Runs, estimate

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
