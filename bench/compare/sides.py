"""The two result sets that are compared: where they are, what is wrong with them, and how they were made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.export.runtimes import TIMED_IN
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.results.index import INDEX, read_index
from bench.results.points import load_points
from bench.storage.provenance import without_password

#: columns without which a points.csv cannot be compared; all others may be there or not
REQUIRED = ("task", "preset", "method", "budget", "seed", "status", "chosen")
#: said of every comparison, and no reason for other numbers
ALWAYS_OTHER = ("date", "started", "command")
EXPECTED = "expected a comparison folder (results/antispoof/quick), a results folder or a points.csv"


@dataclass(frozen=True)
class Side:
    """One result set.

    Attributes:
        path: the comparison folder or the points.csv.
        table: one row for every trained model, in the columns of ``points.csv``, more or fewer.
        index: what the comparison wrote about itself; empty for a points.csv, which does not say how it was made.
        checkpoints: dev scores of the dense models that methods start from, by seed and share of the steps.
    """

    path: Path
    table: pd.DataFrame
    metric: Metric
    index: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Task and preset, as in ``antispoof/quick``."""
        return f"{self.table['task'].iloc[0]}/{self.table['preset'].iloc[0]}"

    @property
    def setting(self) -> dict[str, Any]:
        """What all trials have in common, such as the digest of the data; empty where it is not known."""
        return {**TIMED_IN, **self.index.get("setting", {})} if self.index else {}


def load_sides(first: Path, second: Path) -> tuple[Side, Side]:
    """The result sets at two paths, which must be of the same task and metric.

    Either is a comparison folder, a points.csv, or a results folder with one task and preset that the other has too.

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
        ours, theirs = (f"{side.metric.column} ({side.metric.direction})" for side in (one, other))
        raise BenchError(f"{one.path} is scored by {ours}, {other.path} by {theirs}")
    return one, other


def origins_differing(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Name, value in A and value in B of everything recorded about the making that is not the same in both.

    Of a points.csv only the preset is known; what only one side says is no difference then.
    """
    one, other = _origin(first), _origin(second)
    names = {**one, **other} if first.index and second.index else [name for name in one if name in other]
    values = [(name, one.get(name, "not recorded"), other.get(name, "not recorded")) for name in names]
    return [row for row in values if row[1] != row[2]]


def _origin(side: Side) -> dict[str, str]:
    made: dict[str, Any] = {"preset": side.name.split("/")[1]}
    if side.index:
        setting = {k: v for k, v in side.setting.items() if k != "task"}
        made |= {k: side.index[k] for k in ("budgets", "trials", "seeds", "work_unit") if k in side.index}
        made |= {k: setting.pop(k) for k in ("plan", "data", "fields") if k in setting}
        made |= {k: v for k, v in side.index.get("provenance", {}).items() if k not in ALWAYS_OTHER}
        made |= {f"setting: {name}": value for name, value in setting.items()}
    return _flat(made)


def _flat(made: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested values under names such as ``packages: torch``, as text."""
    flat: dict[str, str] = {}
    for name, value in made.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}: ")
        else:
            flat[f"{before}{name}"] = without_password(value if isinstance(value, str) else json.dumps(value))
    return flat


def _candidates(path: Path) -> dict[str, Path | Side]:
    """The comparisons at or below a path, by task and preset: their folders, or what a points.csv holds."""
    if path.is_file():
        return {(side := _read_csv(path)).name: side}
    if not path.is_dir():
        raise BenchError(f"{path} does not exist; {EXPECTED}")
    places = [path] if (path / INDEX).is_file() else [p.parent for p in sorted(path.glob(f"*/*/{INDEX}"))]
    indices = {place: read_index(place / INDEX) for place in places}
    return {f"{index['task']}/{index['preset']}" if index else str(place): place for place, index in indices.items()}


def _load(found: Path | Side) -> Side:
    if isinstance(found, Side):
        return found
    points = load_points(found)
    if points.table.empty:
        raise BenchError(f"{found} has no trained models yet; run its comparison first")
    table = _numeric(found, points.table, (points.dev_column, points.eval_column))
    return Side(found, table, points.metric, points.index, points.checkpoints)


def _read_csv(path: Path) -> Side:
    try:
        table = pd.read_csv(path)  # to the last bit, which is what is compared
    except (ValueError, OSError) as error:  # the parser's errors and undecodable text are ValueErrors
        raise BenchError(f"{path} cannot be read as a table: {' '.join(str(error).split())}; {EXPECTED}") from error
    if missing := [name for name in REQUIRED if name not in table]:
        raise BenchError(f"{path} cannot be a points.csv: it has no column {', '.join(missing)}; {EXPECTED}")
    if table.empty:
        raise BenchError(f"{path} has no trained models: there is nothing below its header")
    for name in REQUIRED:
        if name != "budget" and table[name].isna().any():  # a method may take none
            line = int(table[name].isna().to_numpy().argmax()) + 2
            raise BenchError(f"{path} is damaged: line {line} has no {name}; write it again with `bench report`")
    for name in ("task", "preset"):
        if len(several := table[name].unique()) > 1:
            all_of_them = ", ".join(map(str, several))
            raise BenchError(f"{path} holds more than one {name} ({all_of_them}); compare one at a time")
    try:  # a points.csv does not say whether small or large is good
        metric = load_task(str(table["task"].iloc[0])).metric
    except BenchError as error:
        raise BenchError(f"{path}: {error}; without the task, its comparison folder is needed") from error
    scores = [f"{split}_{metric.column}" for split in ("dev", "eval")]
    if missing := [name for name in scores if name not in table]:
        raise BenchError(f"{path} has no column {', '.join(missing)}, which the task's metric needs")
    if table["chosen"].dtype != bool:
        raise BenchError(f"{path} is damaged: column chosen holds other things than True and False")
    return Side(path, _numeric(path, table, scores), metric)


def _numeric(path: Path, table: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """The table with scores and budgets as floats and seeds as integers."""
    try:
        return table.astype({**dict.fromkeys([*scores, "budget"], float), "seed": int, "chosen": bool})
    except (ValueError, TypeError) as error:
        raise BenchError(f"{path} is damaged: a score, budget or seed is not a number: {error}") from error
