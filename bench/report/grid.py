"""The chosen points of some methods as statistics take them: a row for each seed, a column for each point."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.draws import ItemDraws
from bench.results.points import Points
from bench.stats.fronts import SeedPoints
from bench.stats.items import RedrawnScores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Runs of the chosen points of some methods; a failed run, or one that missed its budget, has the worst scores.

    Attributes:
        methods: the method of each point.
        macs_ratio: shares of the dense MACs as executed, shape (seeds, points); NaN where a run failed.
        effective_macs_ratio: likewise, of the MACs that are left without zeros.
        dev: scores on dev, in the unit of the metric; failures and missed budgets as the worst there is.
        evals: scores on eval, likewise.
        items: the draws of the items of ``evals``; None unless all finished runs have them.
    """

    methods: list[str]
    macs_ratio: Array
    effective_macs_ratio: Array
    dev: Array
    evals: Array
    items: RedrawnScores | None

    def of(self, method: str) -> Grid:
        """The points of one method."""
        at = np.array([name == method for name in self.methods])
        items = None if self.items is None else RedrawnScores(self.items.scores[:, :, at], self.items.units)
        costs = self.macs_ratio[:, at], self.effective_macs_ratio[:, at]
        return Grid([method] * int(at.sum()), *costs, self.dev[:, at], self.evals[:, at], items)


def counted_runs(points: Points) -> pd.DataFrame:
    """The runs of all chosen points that have come to an end: scored, failed, or with their budget missed.

    Failures and missed budgets have the worst scores, whatever they scored. What declined the task or waits for its
    eval score is left out.
    """
    known: dict[str, pd.DataFrame] = vars(points)
    if "_counted" not in known:
        known["_counted"] = _counted(points)
    return known["_counted"].copy()


def _counted(points: Points) -> pd.DataFrame:
    numbers = ["macs_ratio", "effective_macs_ratio", points.dev_column, points.eval_column]
    table = points.table[points.table["chosen"].astype(bool)].astype(dict.fromkeys(numbers, float))
    worst = table["status"].isin(["failed", "missed"])
    table = table[worst | table[numbers].notna().all(axis=1) & (table["status"] != "declined")]
    scores = [points.dev_column, points.eval_column]
    table[scores] = table[scores].mask(worst, points.metric.worst)
    return table


def seed_runs(points: Points) -> dict[str, dict[int, SeedPoints]]:
    """For each method the costs and scores of each seed; what failed or missed its budget covers nothing."""
    table = counted_runs(points)
    found: dict[str, dict[int, SeedPoints]] = {}
    for method, of_method in table.groupby("method", sort=False):
        for seed, own in of_method.groupby("seed"):
            inside = own[np.isfinite(own[points.eval_column]) & own["macs_ratio"].notna()]
            found.setdefault(str(method), {})[int(str(seed))] = (inside["macs_ratio"], inside[points.eval_column])
    return found


def grid_of(points: Points, methods: Collection[str], draws: ItemDraws) -> Grid | None:
    """The chosen points of these methods with the seeds that all of them have; None if there is no such seed.

    Args:
        points: the points.
        methods: names; one that has no finished run takes no part.
        draws: of the items.
    """
    table = counted_runs(points)
    table = table[table["method"].isin(list(methods))]
    settings = {setting: own.set_index("seed") for setting, own in table.groupby(["method", "trial"], sort=False)}
    shared = sorted(set.intersection(*(set(own.index) for own in settings.values()))) if settings else []
    if not shared:
        return None

    def matrix(column: str) -> Array:
        return np.stack([own.loc[shared, column].to_numpy(dtype=np.float64) for own in settings.values()], axis=-1)

    keys = np.stack([own.loc[shared, "key"].to_numpy(dtype=object) for own in settings.values()], axis=-1)
    names = [str(setting[0]) for setting in settings]
    evals = matrix(points.eval_column)
    costs = matrix("macs_ratio"), matrix("effective_macs_ratio")
    return Grid(names, *costs, matrix(points.dev_column), evals, _items(keys, evals, draws))


def _items(keys: NDArray[Any], evals: Array, draws: ItemDraws) -> RedrawnScores | None:
    finished = np.isfinite(evals)
    if not finished.any() or any(key not in draws.scores for key in keys[finished]):
        return None
    nothing = np.full(len(next(iter(draws.scores.values()))), np.nan)
    each = [[draws.scores.get(key, nothing) for key in row] for row in keys]
    return RedrawnScores(np.moveaxis(np.array(each), -1, 0), draws.count)
