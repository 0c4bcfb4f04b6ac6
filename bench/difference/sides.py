"""The two result sets that are compared: where they are, and what is known of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.results.points import INDEX, load_points
from bench.storage.files import read_json

#: columns without which a points.csv cannot be compared; all others may be there or not
REQUIRED = ("task", "preset", "method", "budget", "seed", "status", "chosen")
EXPECTED = "expected a comparison folder (results/antispoof/quick), a results folder or a points.csv"


@dataclass(frozen=True)
class Side:
    """One result set.

    Attributes:
        path: the comparison folder or the points.csv.
        table: one row for every trained model, in the columns of ``points.csv``, more or fewer.
        metric: the task's metric.
        index: what the comparison wrote about itself; None for a points.csv, which says nothing of how it was made.
        checkpoints: dev score of the shared dense model, by seed, in the unit of the metric.
    """

    path: Path
    table: pd.DataFrame
    metric: Metric
    index: dict[str, Any] | None = None
    checkpoints: dict[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Task and preset, as in ``antispoof/quick``."""
        return f"{self.table['task'].iloc[0]}/{self.table['preset'].iloc[0]}"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trained models, one dictionary each."""
        return [{str(name): value for name, value in row.items()} for row in self.table.to_dict("records")]

    def column(self, split: str) -> str:
        """The column of the score on ``dev`` or ``eval``."""
        return f"{split}_{self.metric.column}"


def load_sides(first: Path, second: Path) -> tuple[Side, Side]:
    """The result sets at two paths, which must be of the same task and metric.

    Args:
        first: a comparison folder, a points.csv, or a results folder with one task and preset that the other has too.
        second: likewise.

    Raises:
        BenchError: a path leads to nothing that can be read, to several comparisons, or to another task or metric.
    """
    found = [_candidates(first), _candidates(second)]
    if not all(path.is_file() or (path / INDEX).is_file() for path in (first, second)):
        shared = found[0].keys() & found[1].keys()
        if len(shared) != 1:
            has = "; ".join(f"{p} has {', '.join(f) or 'none'}" for p, f in zip((first, second), found, strict=True))
            raise BenchError(
                f"expected one task and preset that both have, found {len(shared)}: {has}; name one of them"
            )
        found = [{name: side[name] for name in shared} for side in found]
    one, other = (_load(next(iter(side.values()))) for side in found)
    if (ours := one.name.split("/")[0]) != (theirs := other.name.split("/")[0]):
        raise BenchError(
            f"{one.path} is of task {ours}, {other.path} of task {theirs}: scores of two tasks do not compare"
        )
    if one.metric != other.metric:
        raise BenchError(f"{one.path} is scored by {_said(one.metric)}, {other.path} by {_said(other.metric)}")
    return one, other


def _said(metric: Metric) -> str:
    return f"{metric.column} ({metric.direction})"


def _candidates(path: Path) -> dict[str, Path]:
    """The comparisons at or below a path, by task and preset."""
    if path.is_file():
        return {_read_csv(path).name: path}
    if not path.is_dir():
        raise BenchError(f"{path} does not exist; {EXPECTED}")
    places = [path] if (path / INDEX).is_file() else [p.parent for p in sorted(path.glob(f"*/*/{INDEX}"))]
    indices = {place: read_json(place / INDEX) for place in places}
    return {f"{index['task']}/{index['preset']}" if index else str(place): place for place, index in indices.items()}


def _load(path: Path) -> Side:
    if path.is_file():
        return _read_csv(path)
    points = load_points(path)
    if points.table.empty:
        raise BenchError(f"{path} has no trained models yet; run its comparison first")
    table = _numeric(path, points.table, (points.dev_column, points.eval_column))
    return Side(path, table, points.metric, points.index, points.checkpoints)


def _read_csv(path: Path) -> Side:
    try:
        table = pd.read_csv(path)  # to the last bit, which is what is compared
    except (ValueError, OSError) as error:  # the parser's errors and undecodable text are ValueErrors
        raise BenchError(f"{path} cannot be read as a table: {' '.join(str(error).split())}; {EXPECTED}") from error
    if missing := [name for name in REQUIRED if name not in table]:
        raise BenchError(f"{path} is no points.csv: it has no column {', '.join(missing)}; {EXPECTED}")
    if table.empty:
        raise BenchError(f"{path} has no trained models: there is nothing below its header")
    for name in ("task", "preset", "method", "seed", "status", "chosen"):
        if table[name].isna().any():
            line = int(table[name].isna().to_numpy().argmax()) + 2
            raise BenchError(f"{path} is damaged: line {line} has no {name}; write it again with `bench report`")
    for name in ("task", "preset"):
        if len(several := table[name].unique()) > 1:
            raise BenchError(
                f"{path} holds more than one {name} ({', '.join(map(str, several))}); compare one at a time"
            )
    metric = _metric_of(path, str(table["task"].iloc[0]))
    scores = [f"{split}_{metric.column}" for split in ("dev", "eval")]
    if missing := [name for name in scores if name not in table]:
        raise BenchError(f"{path} has no column {', '.join(missing)}, which the task's metric needs")
    if table["chosen"].dtype != bool:
        raise BenchError(f"{path} is damaged: column chosen holds other things than True and False")
    return Side(path, _numeric(path, table, scores), metric)


def _metric_of(path: Path, task: str) -> Metric:
    """The metric of a task: a points.csv does not say whether small or large is good."""
    try:
        return load_task(task).metric
    except BenchError as error:
        raise BenchError(f"{path}: {error}; without the task, its comparison folder is needed") from error


def _numeric(path: Path, table: pd.DataFrame, scores: Iterable[str]) -> pd.DataFrame:
    """The table with scores and budgets as floats and seeds as integers."""
    try:
        return table.astype({**dict.fromkeys([*scores, "budget"], float), "seed": int})
    except (ValueError, TypeError) as error:
        raise BenchError(f"{path} is damaged: a score, budget or seed is no number: {error}") from error
