"""Scores that others have published for the same architectures, on other data: shown beside a run, never part of it."""

from pathlib import Path

import pandas as pd

from bench.results.points import Points

#: lies beside the package in the source tree; an installed package has none, which is no mistake
FOLDER = Path(__file__).resolve().parents[2] / "results" / "reference"

#: presets whose models are those of the publications, so that a figure may show both
DRAWN = ("full", "paper")


def published_points(points: Points) -> pd.DataFrame:
    """The published scores for the task and the model of a comparison, in its metric; empty if there are none.

    Returns:
        Columns: model, method, setting, params, mflops_per_second, share (of the published dense model's compute; NaN
        where none was reported), score, one column for each part of the score, data, source.
    """
    path = FOLDER / f"published_{points.index['task']}.csv"
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_csv(path, keep_default_na=False, na_values={"params": "", "mflops_per_second": ""})
    if points.metric.column not in table:
        return pd.DataFrame()
    own = str(points.index["setting"]["fields"].get("model", ""))
    table = table[table["task_model"].isin(["", own])]
    if table.empty:
        return table
    dense = table.loc[table["method"] == "dense", "mflops_per_second"].iloc[0]
    table = table.assign(share=table["mflops_per_second"] / dense).rename(columns={points.metric.column: "score"})
    parts = [name for name in table if str(name).startswith(f"{points.metric.column}/")]
    table = table.rename(columns={name: str(name).split("/", 1)[1] for name in parts})
    return table.drop(columns="task_model").reset_index(drop=True)


def part_names(table: pd.DataFrame) -> list[str]:
    """The columns of ``published_points`` that hold parts of the score."""
    known = ("model", "method", "setting", "params", "mflops_per_second", "share", "score", "data", "source")
    return [str(name) for name in table if name not in known]


def drawn_points(points: Points) -> pd.DataFrame:
    """Those that the front of this comparison shows: none unless the preset trains the models of the publication."""
    table = published_points(points)
    if points.index["preset"] not in DRAWN or table.empty:
        return pd.DataFrame()
    return table.dropna(subset=["share"])
