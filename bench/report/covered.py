"""How much of a frozen box each method's chosen points cover, and each camp's together."""

from typing import Any

import pandas as pd

from bench.pareto import hypervolume, nondominated, reference_for
from bench.points import Points
from bench.report.chosen import chosen_points, stage_name
from bench.report.excess import best_possible_steps

#: costs that are shares of the dense model, with what their column is called in the report
COSTS = {
    "macs_ratio": "MACs executed",
    "effective_macs_ratio": "non-zero MACs (theoretical)",
    "latency_ratio": "latency (real)",
}


def hypervolumes(points: Points) -> pd.DataFrame:
    """One row for each camp and method: stage, method (empty for a whole camp), and the hypervolume for each cost.

    Failed points cover nothing. The best possible front comes last, where it is known. Empty for a metric without a
    frozen box.
    """
    reference = reference_for(points.metric)
    table = chosen_points(points)
    if reference is None or table.empty:
        return pd.DataFrame(columns=["stage", "method", *COSTS])
    table = table.assign(stage=[stage_name(row) for row in table.to_dict("records")])
    camps = table[table["stage"] != "control"].groupby("stage", sort=False)
    groups: list[tuple[Any, pd.DataFrame]] = [((stage, ""), rows) for stage, rows in camps]
    groups += table.groupby(["stage", "method"], sort=False)
    rows = []
    for (stage, method), members in groups:
        row: dict[str, object] = {"stage": stage, "method": method}
        for cost in COSTS:
            usable = members[(members["failed"] == 0) & members[points.eval_column].notna() & (members[cost] > 0)]
            row[cost] = hypervolume(usable[cost], usable[points.eval_column], reference) if len(usable) else 0.0
            if members[cost].isna().all():  # never measured, which is something else than nothing covered
                row[cost] = float("nan")
        rows.append(row)
    if len(best := best_possible_steps(points)):
        covered = hypervolume(best["share"], best["score"], reference)
        rows.append({"stage": "theory", "method": "best possible", **dict.fromkeys(COSTS), "macs_ratio": covered})
    return pd.DataFrame(rows)


def on_front(points: Points, cost: str = "macs_ratio") -> pd.Series:
    """Which chosen points no other one beats on eval at this cost; controls take part."""
    table = chosen_points(points)
    sign = 1 if points.metric.direction == "minimize" else -1
    usable = (table["failed"] == 0) & table[points.eval_column].notna() & table[cost].notna()
    front = pd.Series(data=False, index=table.index)
    front[usable] = nondominated(table.loc[usable, cost], sign * table.loc[usable, points.eval_column])
    return front
