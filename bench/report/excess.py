"""How far the chosen points are from the best possible ones, for tasks whose optimum is known."""

import pandas as pd

from bench.report.chosen import chosen_points, stage_name
from bench.results.points import Points


def best_possible_steps(points: Points) -> pd.DataFrame:
    """Shares of the dense compute and the best score that any model can have there, cheapest first.

    Columns: share, score. Empty where the task does not know.
    """
    return pd.DataFrame(points.index.get("best_possible") or [], columns=["share", "score"], dtype=float)


def excess_table(points: Points) -> pd.DataFrame:
    """One row for each method: how much worse than the best possible at the compute that was delivered, in percent.

    Columns: method, stage, ``mean`` and ``worst`` over the trained models of all chosen points, and one column for
    each budget of the comparison with the mean over the models that were chosen for it. Empty where the best possible
    is not known.
    """
    budgets = list(points.index["budgets"])
    trials = _chosen_trials(points)
    rows = []
    for method, own in trials.groupby("method", sort=False):
        row: dict[str, object] = {"method": method, "stage": own["stage"].iloc[0]}
        row |= {"mean": own["excess"].mean(), "worst": own["excess"].max()}
        rows.append(row | {budget: own.loc[own["class"] == budget, "excess"].mean() for budget in budgets})
    return pd.DataFrame(rows, columns=["method", "stage", "mean", "worst", *budgets])


def _chosen_trials(points: Points) -> pd.DataFrame:
    """The trained models of the chosen points in the order of the report, with their excess and their budget."""
    order = chosen_points(points)
    stages = {row["method"]: stage_name(row) for row in order.to_dict("records")}
    table = points.table[points.table["chosen"].astype(bool) & points.table["method"].isin(list(stages))]
    table = table.astype({points.eval_column: float, "best_possible": float, "budget": float})
    best, sign = table["best_possible"].where(table["best_possible"] != 0), _sign(points)
    table = table.assign(
        excess=100 * sign * (table[points.eval_column] - best) / best.abs(),
        stage=table["method"].map(stages),
    )
    table["class"] = [_class_of(asked, points.index["budgets"]) for asked in table["budget"]]
    rank = {method: position for position, method in enumerate(stages)}
    return table.dropna(subset=["excess"]).sort_values("method", key=lambda names: names.map(rank), kind="stable")


def _sign(points: Points) -> int:
    return 1 if points.metric.direction == "minimize" else -1


def _class_of(asked: float, budgets: list[float]) -> float | None:
    """The budget that a point was a candidate for: the smallest that is not below what it asked for."""
    return min((budget for budget in budgets if asked <= budget * (1 + 1e-9)), default=None)
