"""What a comparison has measured: the index that says which trials belong to it, and the table of its points."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from bench.errors import BenchError
from bench.export.runtimes import TIMED_IN, in_words
from bench.plugins.method import Stage
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.storage.cache import content_key
from bench.storage.files import read_json, write_json
from bench.trial.record import MISSING, Scores, TrialFolder, TrialRecord

if TYPE_CHECKING:  # it imports PyTorch, which a report does without
    from bench.trial.setting import Setting

DEFAULT_RESULTS = Path("results")
INDEX = "comparison.json"
COMPARISONS = "comparisons"
Role = Literal["search", "repeat"]  # of a trial of the study, or of a chosen one with another seed

#: columns of points.csv apart from the two of the task's metric, which follow ``status``
COLUMNS = (
    *("task", "preset", "method", "stage", "budget", "seed", "trial", "status"),
    *("params", "macs", "effective_macs", "bops", "size_bytes", "memory_bytes", "latency_ms", "latency_ratio"),
    *("latency_spread", "latency_dense_ms", "latency_wall_ms", "latency_p95_ms", "latency_real_time"),
    *("latency_chunk_ms", "latency_chunk_ratio", "latency_chunk_real_time"),
    *("latency_utterance_ms", "latency_utterance_ratio", "latency_utterance_real_time"),
    *("latency_eager_ms", "latency_eager_ratio", "train_steps"),
    *("total_steps", "cost_ratio", "macs_ratio", "effective_macs_ratio", "bops_ratio", "best_possible", "cpu_s"),
    "peak_memory_mb",
    *("train_macs", "train_cpu_s", "dense_share", "start_train_macs", "start_cpu_s"),
    *("teacher_train_macs", "teacher_cpu_s"),
    *("simulated", "control", "chosen", "reason", "settings", "run_id", "key"),
)


@dataclass(frozen=True)
class Points:
    """The points of one comparison."""

    folder: Path  # ``results/<task>/<preset>``
    table: pd.DataFrame  # one row for every trained model, in the columns of ``points.csv``
    metric: Metric
    work_unit: str  # what MACs and latency are quoted for
    index: dict[str, Any]  # what ``write_index`` has written
    eval_scores: dict[str, Scores]  # headline and breakdowns on eval, by key of the trial, in the unit of the metric
    dev_scores: dict[str, Scores]  # likewise on dev
    logged: dict[str, Scores]  # by key of the trial, what its method has logged
    checkpoints: dict[tuple[int, float], float]  # dev scores of the dense models started from, by seed and share
    notes: dict[str, list[str]]  # remarks of methods beside their results, by method, each once

    @property
    def title(self) -> str:
        """Task, preset and, of several, the model: ``vad · quick · crnn``."""
        model = self.index["setting"]["fields"].get("model")
        return " · ".join([self.index["task"], self.index["preset"], *([str(model)] if model else [])])

    @property
    def cost(self) -> str:
        """What budgets are shares of: macs, bytes, memory or latency."""
        return str(self.index["setting"].get("cost", "macs"))

    @property
    def timed_in(self) -> str:
        """Where latencies were measured: ``ONNX Runtime 1.31.0 on one thread``."""
        name, threads = ({**TIMED_IN, **self.index["setting"]}[part] for part in TIMED_IN)
        return in_words(name, threads, self.index.get("provenance", {}).get("packages", {}).get(name, ""))

    @property
    def dev_column(self) -> str:
        return f"dev_{self.metric.column}"

    @property
    def eval_column(self) -> str:
        return f"eval_{self.metric.column}"

    def export_command(self, trial: str) -> str:
        """The command that writes the files of this trial's model."""
        results = self.folder.parent.parent
        where = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
        preset = ["--preset", self.index["preset"]]
        return shlex.join(["bench", "export", self.index["task"], *preset, "--trial", trial, *where])

    @property
    def trained(self) -> pd.DataFrame:
        """The rows of ``table``, less those of methods that declined, which have trained nothing."""
        return self.table[self.table["status"] != "declined"]


def comparison_folder(results: Path, task: str, preset: str) -> Path:
    """Where the results of a task and preset are; always inside the results folder.

    Raises:
        BenchError: a name cannot be one of a task or a preset, such as ``..``.
    """
    for name in (task, preset):
        if name in ("", ".", "..") or Path(name).name != name:
            raise BenchError(
                f"{name!r} cannot be the name of a task or a preset; `bench list` shows the tasks there are"
            )
    return results / task / preset


@dataclass(frozen=True)
class TrialEntry:
    """A finished trial in the index of a comparison."""

    key: str  # names its folder
    trial: int  # its number in the study of the method; repeats have the number of the trial that they repeat
    seed: int
    role: Role
    budget: float | None  # share of the dense compute that was asked for; None if the method takes no budget
    settings: dict[str, Any]  # of the method: those that its name fixes, and those that were searched
    chosen: bool  # whether it is read on eval


@dataclass(frozen=True)
class MethodEntry:
    """A method in the index of a comparison, with its finished trials."""

    stage: Stage
    control: bool
    trials: list[TrialEntry]


@dataclass(frozen=True)
class _Setting:
    fields: dict[str, str]


@dataclass(frozen=True)
class _Index:
    """What an index must hold to be read; of several versions, so that other names may be there."""

    identity: str
    task: str
    preset: str
    metric: Metric
    work_unit: str
    setting: _Setting
    methods: dict[str, MethodEntry]


_INDEX_SHAPE = TypeAdapter(_Index)


def read_index(path: Path) -> dict[str, Any] | None:
    """The index of a comparison, or None if it is not there, damaged or of another shape."""
    index = read_json(path)
    try:
        _INDEX_SHAPE.validate_python(index)
    except ValidationError:
        return None
    return index


def write_index(
    folder: Path,
    setting: "Setting",
    methods: Mapping[str, MethodEntry],
    *,
    best_possible: Sequence[tuple[float, float]],
    budgets: Sequence[float],
    trials: int,
    seeds: int,
    predicted: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
    provenance: Mapping[str, Any],
) -> None:
    """Write the index of a comparison; entries of methods that took no part this time stay.

    A preset may be run with several models or data sets: each is a comparison of its own, kept under its identity, and
    ``comparison.json`` is the latest.

    Args:
        methods: by their method specs.
        best_possible: shares of the dense compute and the best score that any model can have there; those of earlier
            trials stay.
        budgets: shares of the dense compute.
        trials: of every method, as asked for.
        seeds: trainings of every chosen point.
        predicted: what models were told to cost and what they did, by how their files are made.
    """
    task = load_task(setting.task)
    widths = {"width_multiple": setting.width_multiple, "width_groups": " ".join(setting.width_groups) or "all"}
    widths |= {"cost": setting.cost, "prices": dict(setting.prices), **setting.timed_in}
    identity = content_key({**setting.made_from, **widths})
    kept = folder / COMPARISONS / f"{identity}.json"
    before = read_index(kept) or {}
    index = {
        "budgets": budgets,
        "trials": trials,
        "seeds": seeds,
        "predicted": dict(predicted),
        "provenance": provenance,
        "identity": identity,
        "task": setting.task,
        "preset": setting.preset,
        "metric": asdict(task.metric),
        "work_unit": task.work_unit,
        "setting": {**setting.made_from, **widths},
        "best_possible": sorted({**dict(before.get("best_possible", [])), **dict(best_possible)}.items()),
        "methods": {**before.get("methods", {}), **{name: asdict(entry) for name, entry in methods.items()}},
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, index)
    write_json(folder / INDEX, index)


def comparisons(folder: Path) -> list[dict[str, Any]]:
    """The indices of all comparisons of a task and preset, the latest last."""
    found = [index for path in sorted((folder / COMPARISONS).glob("*.json")) if (index := read_index(path))]
    # dates are ISO 8601 in UTC, so that their order is that of their texts; of two the same the last file counts
    found.sort(key=lambda index: str(index.get("provenance", {}).get("date", "")))
    return found


def latest_with(folder: Path, model: str) -> dict[str, Any]:
    """The index of the latest comparison with this model of the task.

    Raises:
        BenchError: there is none; the message says which there are.
    """
    latest = {index["setting"]["fields"].get("model"): index for index in comparisons(folder)}
    if model not in latest:
        known = "; ".join(f"model {name}" for name in latest)
        raise BenchError(f"no results with model {model} in {folder}; there are: {known or 'none'}")
    return latest[model]


def select_comparison(folder: Path, model: str) -> None:
    """Make the latest comparison with this model of the task the one that is read."""
    write_json(folder / INDEX, latest_with(folder, model))


def load_points(folder: Path, index: dict[str, Any] | None = None) -> Points:
    """The points of a comparison, from its files: of the one that is read unless another index is given.

    Raises:
        BenchError: nothing has been run there, or the index is damaged.
    """
    index = index or read_index(folder / INDEX)
    if index is None:
        what = f"{folder / INDEX} is damaged" if (folder / INDEX).exists() else f"no results in {folder}"
        again = "; finished trials are kept" if (folder / INDEX).exists() else " first"
        raise BenchError(f"{what}: run `bench run {folder.parent.name} --preset {folder.name}`{again}")
    metric = Metric(**index["metric"])
    best_possible = dict(index.get("best_possible", []))
    rows, evals, devs, logged, checkpoints = [], {}, {}, {}, {}
    notes: dict[str, list[str]] = {}
    for method, entry in index["methods"].items():
        for trial in entry["trials"]:
            key, files = trial["key"], TrialFolder.of(folder, trial["key"])
            record = files.record() or MISSING
            devs[key], logged[key] = record.dev or {}, record.logged or {}
            if record.has_model and (scores := files.eval_scores()):  # a failed trial has none, whoever wrote any
                evals[key] = scores
            if record.start and record.dense_share and metric.column in record.start:
                checkpoints[trial["seed"], record.dense_share] = record.start[metric.column]
            if record.notes:
                notes[method] = list(dict.fromkeys([*notes.get(method, []), *record.notes]))
            scored = {
                f"dev_{metric.column}": devs[key].get(metric.column),
                f"eval_{metric.column}": evals.get(key, {}).get(metric.column),
                "best_possible": best_possible.get(record.macs_ratio),
                "cost_ratio": record.macs_ratio if record.cost_ratio is None else record.cost_ratio,
            }
            rows.append({**_row(index, method, trial, record, files), **scored})
    columns = [*COLUMNS[:8], f"dev_{metric.column}", f"eval_{metric.column}", *COLUMNS[8:]]
    table = pd.DataFrame(rows, columns=columns)
    return Points(folder, table, metric, index["work_unit"], index, evals, devs, logged, checkpoints, notes)


def _row(
    index: dict[str, Any], method: str, trial: dict[str, Any], record: TrialRecord, files: TrialFolder
) -> dict[str, Any]:
    return {
        **{name: getattr(record, name, None) for name in COLUMNS},
        **(files.latencies() or {}),
        **{name: trial[name] for name in ("budget", "seed", "trial", "chosen", "key")},
        "task": index["task"],
        "preset": index["preset"],
        "method": method,
        "stage": index["methods"][method]["stage"],
        "control": index["methods"][method]["control"],
        "settings": json.dumps(trial["settings"], sort_keys=True),
        "run_id": files.mlflow_note().get("run_id"),
    }
