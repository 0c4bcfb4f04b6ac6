"""Costs and errors of runs, drawn again over seeds and items together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.statistics.bootstrap import Draw, Resampling, Statistic, ends, interval
from bench.statistics.estimate import Estimate, Over, Sign
from bench.statistics.items import Items

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
