"""The smallest compute at which a method is no worse than the dense model."""

import pandas as pd

from bench.points import Points
from bench.report.chosen import chosen_points, stage_name


def undiminished_table(points: Points) -> pd.DataFrame:
    """One row for each method: the least executed share of the dense MACs at which its mean score is no worse.

    Means over the seeds of a chosen point are compared with the mean of the dense model that was trained for as many
    steps; a point one of whose seeds failed does not count. The difference may be smaller than what seeds make of it.

    Columns: method, stage, seeds, ``dev`` and ``eval`` (shares, NaN where no point is as good), ``theoretical``
    (the share of the eval point if zeros cost nothing). Empty without a dense model.
    """
    table = chosen_points(points)
    dense = table[table["method"] == "dense"]
    columns = ["method", "stage", "seeds", "dev", "eval", "theoretical"]
    if dense.empty:
        return pd.DataFrame(columns=columns)
    sign = 1 if points.metric.direction == "minimize" else -1
    rows = []
    for method, own in table[table["method"] != "dense"].groupby("method", sort=False):
        row = {"method": method, "stage": stage_name(own.iloc[0]), "seeds": int(own["seeds"].min())}
        for split, column in (("dev", points.dev_column), ("eval", points.eval_column)):
            level = sign * float(dense.iloc[0][column])
            as_good = own[(own["failed"] == 0) & (sign * own[column] <= level)].sort_values("macs_ratio")
            row[split] = as_good["macs_ratio"].min()
            row["theoretical"] = as_good["effective_macs_ratio"].min()
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)
