"""What training cost: a point from scratch, a point given a checkpoint, and the whole tuning of a method."""

from __future__ import annotations

import pandas as pd

from bench.report.best import method_stages
from bench.results.points import Points

#: what effort is counted in: the trial's own, and that of the dense model it started from
EFFORTS = {
    "steps": ("train_steps", "start_steps"),
    "macs": ("train_macs", "start_train_macs"),
    "cpu_s": ("train_cpu_s", "start_cpu_s"),
}
EFFORT_NAMES = {"steps": "steps", "macs": "MACs", "cpu_s": "CPU s"}
#: by column: whom it is for
LEDGERS = {
    "scratch": "from scratch",
    "given": "given a dense model",
    "tuning": "whole tuning",
}


def training_table(points: Points) -> pd.DataFrame:
    """One row for each method: what its training cost.

    Columns: method, stage; ``models`` (trained in all: every trial of the search and the repeats with other seeds);
    then for each ledger and effort ``<ledger>_<effort>``: ``scratch`` (mean over the chosen points: their own effort
    and that of the dense model they start from), ``given`` (their own alone) and ``tuning`` (all models of the method,
    the dense model counted once for each seed). NaN where it was not recorded.
    """
    table = _efforts(points)
    rows = []
    for method, stage in method_stages(points).items():
        own = table[table["method"] == method]
        chosen = own[own["chosen"].astype(bool)]
        row: dict[str, object] = {"method": method, "stage": stage, "models": len(own)}
        for effort, (trained, start) in EFFORTS.items():
            row[f"scratch_{effort}"] = (chosen[trained] + chosen[start]).mean()
            row[f"given_{effort}"] = chosen[trained].mean()
            starts = own.groupby("seed")[start].max().sum(skipna=False)
            row[f"tuning_{effort}"] = own[trained].sum(min_count=1) + starts
        rows.append(row)
    names = [f"{ledger}_{effort}" for ledger in LEDGERS for effort in EFFORTS]
    return pd.DataFrame(rows, columns=["method", "stage", "models", *names])


def _efforts(points: Points) -> pd.DataFrame:
    """All trained models with their efforts as numbers; what older results have not recorded is NaN."""
    table = points.table[points.table["status"] != "declined"].copy()
    table["start_steps"] = table["total_steps"].astype(float) - table["train_steps"].astype(float)
    for trained, start in EFFORTS.values():
        known = table[trained].astype(float) if trained in table else float("nan")
        begun = table[start].astype(float) if start in table else pd.Series(float("nan"), index=table.index)
        table[trained], table[start] = known, begun.mask(table["start_steps"] == 0, 0.0)
    return table
