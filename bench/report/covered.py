"""How much of a frozen box each method's chosen points cover, and each camp's together."""

from typing import Any

import pandas as pd

from bench.report.chosen import chosen_points, counts, stage_name
from bench.report.draws import NO_ITEMS, ItemDraws
from bench.report.excess import best_possible_steps
from bench.report.grid import grid_of
from bench.results.points import Points
from bench.stats.fronts import Reference, hypervolume, hypervolume_of_means, nondominated, reference_for

#: costs that are shares of the dense model, with what their column is called in the report
COSTS = {
    "macs_ratio": "MACs executed",
    "effective_macs_ratio": "non-zero MACs (theoretical)",
    "latency_ratio": "latency (real)",
}


def hypervolumes(points: Points, draws: ItemDraws = NO_ITEMS) -> pd.DataFrame:
    """One row for each camp and method: stage, method (empty for a whole camp), and the hypervolume for each cost.

    Points one of whose seeds failed or missed its budget cover nothing. That of the executed MACs has its ``interval``,
    an ``Estimate``. The best possible front comes last, where it is known. Empty for a metric without a frozen box.
    """
    reference = reference_for(points.metric)
    table = chosen_points(points)
    if reference is None or table.empty:
        return pd.DataFrame(columns=["stage", "method", *COSTS, "interval"])
    table = table.assign(stage=[stage_name(row) for row in table.to_dict("records")])
    camps = table[table["stage"] != "control"].groupby("stage", sort=False)
    groups: list[tuple[Any, pd.DataFrame]] = [((stage, ""), rows) for stage, rows in camps]
    groups += table.groupby(["stage", "method"], sort=False)
    rows = []
    for (stage, method), members in groups:
        row: dict[str, object] = {"stage": stage, "method": method, "interval": None}
        row |= {cost: _covered(points, members, cost, reference) for cost in COSTS}
        if (grid := grid_of(points, set(members["method"]), draws)) is not None:
            interval = hypervolume_of_means(grid.macs_ratio, grid.evals, reference, redrawn=grid.items)
            row |= {"macs_ratio": interval.value, "interval": interval}
        rows.append(row)
    if len(best := best_possible_steps(points)):
        covered = hypervolume(best["share"], best["score"], reference)
        theory = {"stage": "theory", "method": "best possible", **dict.fromkeys(COSTS), "interval": None}
        rows.append({**theory, "macs_ratio": covered})
    return pd.DataFrame(rows)


def _covered(points: Points, members: pd.DataFrame, cost: str, reference: Reference) -> float:
    """What means over seeds cover; NaN if the cost was never measured, which is something else than nothing covered."""
    if members[cost].isna().all():
        return float("nan")
    usable = members[counts(members) & members[points.eval_column].notna() & (members[cost] > 0)]
    return hypervolume(usable[cost], usable[points.eval_column], reference) if len(usable) else 0.0


def on_front(points: Points, cost: str = "macs_ratio") -> pd.Series:
    """Which chosen points no other one beats on eval at this cost; what failed or missed its budget takes no part."""
    table = chosen_points(points)
    sign = 1 if points.metric.direction == "minimize" else -1
    usable = counts(table) & table[points.eval_column].notna() & table[cost].notna()
    front = pd.Series(data=False, index=table.index)
    front[usable] = nondominated(table.loc[usable, cost], sign * table.loc[usable, points.eval_column])
    return front
