"""The best score within a budget and the least compute at no worse a score, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.statistics.bootstrap import DEFAULT, Draw, Resampling, Statistic, interval
from bench.statistics.estimate import Estimate, Over, Sign
from bench.statistics.items import Items

Array = NDArray[np.float64]

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
    runs = _Runs.checked(costs, scores, sign, items)
    chooser = None if dev is None else _Runs.checked(costs, dev, sign, None)
    if chooser is not None and chooser.errors.shape != runs.errors.shape:
        raise ValueError(f"dev scores have shape {chooser.errors.shape}, scores {runs.errors.shape}")

    def statistic(seeds: Draw, drawn: Draw | None) -> Array:
        errors = runs.drawn(seeds, drawn).mean(axis=-2)
        choose_by = errors if chooser is None else chooser.drawn(seeds, None).mean(axis=-2)
        reached = runs.costs[seeds].mean(axis=-2) <= budget * (1 + _ROUNDING)
        ranked = np.where(reached & np.isfinite(errors), choose_by, np.inf)
        chosen = np.take_along_axis(errors, ranked.argmin(axis=-1)[..., None], axis=-1)[..., 0]
        return sign * np.where(np.isfinite(ranked).any(axis=-1), chosen, np.inf)

    return _estimate(statistic, len(runs.errors), items, resampling)


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
        level_items: the same items, as the dense model scored on them: ``rescored`` gives shape (seeds, 1).
        resampling: how the interval is drawn.

    Returns:
        A share of the dense compute; infinite where no point is as good. No end of the interval lies between the costs
        of points that exist, so few points make it coarse.

    Raises:
        ValueError: shapes differ or are empty, a finished run has no cost or no score, items disagree with scores, or
            items come without those of a level that belongs to seeds.
    """
    runs = _Runs.checked(costs, scores, sign, items)
    count = len(runs.errors)
    given = np.asarray(level, dtype=np.float64)
    if given.shape not in ((), (count,)):
        raise ValueError(f"the level has shape {given.shape}, expected one number or ({count},)")
    if items is not None and given.shape and level_items is None:
        raise ValueError("scores come with items, so the level of each seed needs its items too")
    if level_items is not None and (items is None or len(level_items.classes) != len(items.classes)):
        raise ValueError("the level has other items than the scores")
    column = np.broadcast_to(given, (count,))[:, None]
    levels = _Runs.checked(np.ones((count, 1)), column, sign, level_items)

    def statistic(seeds: Draw, drawn: Draw | None) -> Array:
        errors = runs.drawn(seeds, drawn).mean(axis=-2)
        at_most = levels.drawn(seeds, drawn).mean(axis=-2)
        spare = np.where(np.isfinite(at_most), _ROUNDING * np.abs(at_most), 0.0)
        as_good = np.isfinite(errors) & (errors <= at_most + spare)
        result: Array = np.where(as_good, runs.costs[seeds].mean(axis=-2), np.inf).min(axis=-1)
        return result

    return _estimate(statistic, count, items, resampling)


def _estimate(statistic: Statistic, count: int, items: Items | None, resampling: Resampling) -> Estimate:
    """The value of a statistic of (seeds, items) and its interval over what there is more than one of."""
    every = np.arange(count)
    all_items = None if items is None else np.arange(len(items.classes))
    value = float(statistic(every, all_items))
    samples = [every] if count > 1 else []
    if items is not None:
        samples += items.strata

    def from_draws(*draws: Draw) -> Array:
        seeds, rest = (draws[0], draws[1:]) if count > 1 else (np.zeros((*draws[0].shape[:-1], 1), np.intp), draws)
        return statistic(seeds, np.concatenate(rest, axis=-1) if rest else None)

    names: dict[tuple[bool, bool], Over]
    names = {(True, True): "seeds and items", (True, False): "seeds", (False, True): "items", (False, False): "nothing"}
    over = names[count > 1, items is not None]
    low, high = interval(from_draws, samples, resampling) if samples else (None, None)
    return Estimate(value, low, high, over, count, len(items.classes) if items else 0, resampling.confidence)


@dataclass(frozen=True)
class _Runs:
    """Costs and errors of runs, shape (seeds, points); failed ones have an infinite error and a cost of 0."""

    costs: Array
    errors: Array
    sign: Sign
    items: Items | None

    @classmethod
    def checked(cls, costs: ArrayLike, scores: ArrayLike, sign: Sign, items: Items | None) -> _Runs:
        """Runs as they come from outside."""
        cost, error = np.asarray(costs, dtype=np.float64), sign * np.asarray(scores, dtype=np.float64)
        if cost.shape != error.shape or error.ndim != 2 or not error.size:
            raise ValueError(f"costs {cost.shape} and scores {error.shape} must both have shape (seeds, points)")
        if np.isnan(error).any() or (error == -np.inf).any():
            raise ValueError("a score is NaN or infinitely good: pass failures as the worst score")
        failed = np.isinf(error)
        if not np.isfinite(cost[~failed]).all():
            raise ValueError("a finished run has no finite cost")
        runs = cls(np.where(failed, 0.0, cost), error, sign, items)
        if items is not None:
            again = runs._rescored(np.arange(len(items.classes)))
            if not np.allclose(again[~failed], error[~failed], rtol=1e-6, atol=1e-9):
                raise ValueError("the items do not give the scores that came with them")
        return runs

    def drawn(self, seeds: Draw, items: Draw | None) -> Array:
        """Errors of the runs with these seeds on these items.

        Args:
            seeds: numbers of seeds, shape (..., n).
            items: numbers of items, shape (..., m), the same leading axes; None: the scores as they came.

        Returns:
            Shape (..., n, points).
        """
        if self.items is None or items is None:
            result: Array = self.errors[seeds]
            return result
        each = np.stack([self._rescored(draw) for draw in items.reshape(-1, items.shape[-1])])
        each = each.reshape(*items.shape[:-1], *self.errors.shape)
        return np.take_along_axis(each, seeds[..., None], axis=-2)

    def _rescored(self, draw: Draw) -> Array:
        assert self.items is not None
        scores = np.asarray(self.items.rescored(draw), dtype=np.float64)
        if scores.shape != self.errors.shape:
            raise ValueError(f"items give scores of shape {scores.shape}, expected {self.errors.shape}")
        if np.isnan(scores[np.isfinite(self.errors)]).any():
            raise ValueError("items give NaN for a finished run")
        return np.where(np.isinf(self.errors), np.inf, self.sign * scores)
