"""The points that a comparison is read from: the frozen choices, averaged over seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.results.points import Points

#: below this share of the executed MACs the rest is zeros, which a dense runtime multiplies all the same
UNSTRUCTURED = 0.9


def chosen_points(points: Points) -> pd.DataFrame:
    """One row for each method and chosen setting: means over seeds, with their number and whether any failed.

    A method that declined the task has no points, so it has no row.

    Columns: method, stage, control, budget, trial; the means of all costs and scores; the eval score's ``_std``,
    ``_min`` and ``_max``; seeds, scored (those with an eval score), failed and missed (how many); and unstructured
    (whether its zeros are only theoretical savings).
    """
    known: dict[str, pd.DataFrame] = vars(points)  # every table of the report asks, and the answer takes a while
    if "_chosen" not in known:
        known["_chosen"] = _averaged(points)
    return known["_chosen"].copy()


def _averaged(points: Points) -> pd.DataFrame:
    numbers = [
        *(points.dev_column, points.eval_column, "params", "macs", "macs_ratio", "effective_macs_ratio", "bops"),
        *("effective_macs", "size_bytes", "train_steps", "total_steps", "cpu_s"),
        *(str(name) for name in points.table if str(name).startswith("latency_")),
    ]
    keys = ["method", "stage", "control", "budget", "trial"]
    # a column nobody has a number for holds None, and a mean of those is an error
    table = points.table[points.table["chosen"].astype(bool) & (points.table["status"] != "declined")]
    table = table.astype(dict.fromkeys([*numbers, "budget"], float))
    table = table.astype({"control": bool})
    grouped = table.groupby(keys, dropna=False, sort=False)
    means = grouped[numbers].mean()
    evals = grouped[points.eval_column]
    for spread in ("std", "min", "max"):
        means[f"{points.eval_column}_{spread}"] = evals.agg(spread)
    means["seeds"], means["scored"] = grouped.size(), evals.count()
    for status in ("failed", "missed"):
        means[status] = (table["status"] == status).groupby([table[key] for key in keys], dropna=False).sum()
    means["unstructured"] = means["effective_macs_ratio"] < UNSTRUCTURED * means["macs_ratio"]
    order = ["control", "stage", "method", "budget"]
    return means.reset_index().sort_values(order, ascending=[True, True, True, False], ignore_index=True)


def counts(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which chosen points count at all: those none of whose seeds failed or missed its budget."""
    return (table["failed"] == 0) & (table["missed"] == 0)


def stage_name(row: Mapping[Any, Any] | pd.Series) -> str:
    """How a point came about, in a word for tables."""
    return "control" if row["control"] else str(row["stage"]).replace("_", "-")
