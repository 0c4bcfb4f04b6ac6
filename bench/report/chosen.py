"""The points that a comparison is read from: the frozen choices, averaged over seeds."""

import pandas as pd

from bench.points import Points


def chosen_points(points: Points) -> pd.DataFrame:
    """One row for each method and chosen setting: means over seeds, with their number and whether any failed.

    Columns: method, stage, control, budget, trial, seeds, failed, status, and the means of all costs and scores.
    """
    table = points.table[points.table["chosen"]]
    numbers = [
        *(points.dev_column, points.eval_column, "params", "macs", "macs_ratio", "effective_macs_ratio", "bops"),
        *("size_bytes", "latency_ms", "latency_ratio", "train_steps", "total_steps", "cpu_s"),
    ]
    keys = ["method", "stage", "control", "budget", "trial"]
    grouped = table.groupby(keys, dropna=False, sort=False)
    means = grouped[numbers].mean()
    means["seeds"] = grouped.size()
    means["failed"] = grouped["status"].agg(lambda s: int((s == "failed").sum()))
    means["missed"] = grouped["status"].agg(lambda s: int((s == "missed").sum()))
    means[f"{points.eval_column}_std"] = grouped[points.eval_column].std()
    order = ["control", "stage", "method", "budget"]
    return means.reset_index().sort_values(order, ascending=[True, True, True, False])
