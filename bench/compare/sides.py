"""The two result sets that are compared: where they are, how they were made, and which of their points match."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.report.cells import known, percent
from bench.results.points import INDEX, load_points
from bench.results.selection import budget_class
from bench.storage.files import read_json
from bench.storage.provenance import without_password

Row = Mapping[str, Any]

#: columns without which a points.csv cannot be compared; all others may be there or not
REQUIRED = ("task", "preset", "method", "budget", "seed", "status", "chosen")
#: said of every comparison, and no reason for other numbers
ALWAYS_OTHER = ("date", "started", "command")
#: where these differ, numbers need not agree
DECISIVE = ("preset", "budgets", "data", "plan", "fields")
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

    @property
    def setting(self) -> dict[str, Any]:
        """What all trials have in common, such as the digest of the data; empty where it is not known."""
        return self.index.get("setting", {}) if self.index else {}


@dataclass(frozen=True)
class Point:
    """A method at a budget, chosen on both sides.

    Attributes:
        method: its name.
        budget: share of the dense compute; None for a method without budgets.
        first: the trained models of A by seed, as rows of the table.
        second: those of B.
        same_start: whether a seed means the same start on both sides.
    """

    method: str
    budget: float | None
    first: Mapping[int, Row]
    second: Mapping[int, Row]
    same_start: bool

    @property
    def shared(self) -> list[int]:
        """The seeds that both have."""
        return sorted(self.first.keys() & self.second.keys())

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return named(self.method, self.budget)

    @property
    def other_settings(self) -> bool:
        """Whether the searches chose different settings, a chance that other seeds know nothing of."""
        settings = [{str(row.get("settings")) for row in side.values()} for side in (self.first, self.second)]
        return settings[0] != settings[1]


@dataclass(frozen=True)
class Matched:
    """The points of two result sets.

    Attributes:
        both: chosen on both sides.
        only_first: method and budget of points that only A has.
        only_second: those that only B has.
        troubles: what failed, missed its budget or was declined on either side, one sentence each.
    """

    both: list[Point]
    only_first: list[str]
    only_second: list[str]
    troubles: list[str]


def named(method: str, budget: float | None) -> str:
    """A method and its budget in words.

    >>> named("feature_noise", 0.25), named("dense", None)
    ('feature_noise at 25 %', 'dense')
    """
    return method if budget is None else f"{method} at {percent(budget)}"


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


def match_points(first: Side, second: Side) -> Matched:
    """Match the chosen points; where both sides say their budgets, a point stands for the one it was chosen for."""
    classed = first.index is not None and second.index is not None
    one, other = _chosen(first, classed), _chosen(second, classed)
    both = []
    for method, budget in sorted(one.keys() & other.keys(), key=_order):
        own, theirs = one[method, budget], other[method, budget]
        same = _same_start(first, second, str(next(iter(own.values())).get("stage")), own.keys() & theirs.keys())
        both.append(Point(method, budget, own, theirs, same))
    only = [[named(*name) for name in sorted(a.keys() - b.keys(), key=_order)] for a, b in ((one, other), (other, one))]
    return Matched(both, only[0], only[1], [*_troubles("A", first, classed), *_troubles("B", second, classed)])


def origins_differing(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Name, value in A and value in B of everything recorded about the making that is not the same in both.

    Of a points.csv only the preset is known; what only one side says is no difference then.
    """
    one, other = _origin(first), _origin(second)
    unknown = None in (first.index, second.index)
    names = [name for name in {**one, **other} if not unknown or (name in one and name in other)]
    values = [(name, one.get(name, "not recorded"), other.get(name, "not recorded")) for name in names]
    return [row for row in values if row[1] != row[2]]


def decisive(differing: Iterable[tuple[str, str, str]]) -> list[str]:
    """Those names among the differences because of which numbers need not agree."""
    return [name for name, _, _ in differing if name.split(": ")[0] in DECISIVE]


def _order(name: tuple[str, float | None]) -> tuple[str, float]:
    return name[0], -(name[1] or math.inf)


def _budget(side: Side, row: Row, classed: bool) -> float | None:
    asked = float(row["budget"]) if known(row["budget"]) else None
    return budget_class(asked, side.index["budgets"]) if classed and side.index else asked


def _chosen(side: Side, classed: bool) -> dict[tuple[str, float | None], dict[int, Row]]:
    found: dict[tuple[str, float | None], dict[int, Row]] = {}
    for row in side.rows:
        if row["chosen"] and row["status"] != "declined":
            found.setdefault((str(row["method"]), _budget(side, row, classed)), {})[row["seed"]] = row
    return found


def _troubles(label: str, side: Side, classed: bool) -> list[str]:
    """Chosen points that are not complete, the seeds of a point in one sentence; who declined is said once."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for row in side.rows:
        if row["chosen"] and row["status"] != "complete":
            budget = None if row["status"] == "declined" else _budget(side, row, classed)
            seeds.setdefault((str(row["status"]), named(str(row["method"]), budget)), []).append(row["seed"])
    return [
        f"{label} {status}: {name}"
        + ("" if status == "declined" else f", seed{'s' * (len(own) > 1)} {', '.join(map(str, sorted(own)))}")
        for (status, name), own in seeds.items()
    ]


def _same_start(first: Side, second: Side, stage: str, seeds: set[int]) -> bool:
    """Whether a seed stands for the same data, weights at the start and batches on both sides, as far as is recorded.

    A post-hoc method starts from the shared dense model, whose dev score must be the same.
    """
    if first.index is None or second.index is None or not seeds:
        return False
    if any(first.setting.get(name) != second.setting.get(name) for name in ("data", "plan", "fields")):
        return False
    if stage != "post_hoc":
        return True
    return all(s in first.checkpoints and first.checkpoints[s] == second.checkpoints.get(s) for s in seeds)


def _origin(side: Side) -> dict[str, str]:
    made: dict[str, Any] = {"preset": side.name.split("/")[1]}
    if side.index is not None:
        setting = {k: v for k, v in side.setting.items() if k not in ("task", "plan")}
        origin = {k: v for k, v in side.index.get("provenance", {}).items() if k not in ALWAYS_OTHER}
        made |= {name: side.index.get(name) for name in ("budgets", "seeds", "work_unit", "plan")}
        made |= {"data": setting.pop("data", None), "fields": setting.pop("fields", {}), **origin}
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
        raise BenchError(f"{path} cannot be a points.csv: it has no column {', '.join(missing)}; {EXPECTED}")
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
        raise BenchError(f"{path} is damaged: a score, budget or seed is not a number: {error}") from error
