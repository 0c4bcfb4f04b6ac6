"""What a comparison has measured: the files it leaves, and the table of its points."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.plugins.task import Metric
from bench.storage.files import read_json, write_json
from bench.trial.record import EVAL, LATENCY, TRACKED, read_record, trial_folder

INDEX = "comparison.json"
COMPARISONS = "comparisons"

#: columns of points.csv, but for the two of the task's metric, which stand behind ``status``
COLUMNS = (
    *("task", "preset", "method", "stage", "budget", "seed", "trial", "status"),
    *("params", "macs", "effective_macs", "bops", "size_bytes", "latency_ms", "latency_ratio"),
    *("latency_spread", "latency_wall_ms", "latency_p95_ms", "latency_chunk_ms", "latency_chunk_ratio"),
    *("latency_utterance_ms", "latency_utterance_ratio", "latency_eager_ms", "latency_eager_ratio", "train_steps"),
    *("total_steps", "macs_ratio", "effective_macs_ratio", "best_possible", "cpu_s", "peak_memory_mb"),
    *("train_macs", "train_cpu_s", "start_train_macs", "start_cpu_s"),
    *("control", "chosen", "reason", "settings", "run_id", "key"),
)


@dataclass(frozen=True)
class Points:
    """The points of one comparison.

    Attributes:
        folder: ``results/<task>/<preset>``.
        table: one row for every trained model, in the columns of ``points.csv``.
        metric: the task's metric.
        work_unit: what MACs and latency are quoted for.
        index: the rest of what the comparison wrote about itself: setting, provenance, methods.
        eval_scores: headline and breakdowns on eval, by key of the trial.
        dev_scores: likewise on dev.
        checkpoints: dev score of the shared dense model, by seed.
        notes: what methods say beside their results, by method, each sentence once.
    """

    folder: Path
    table: pd.DataFrame
    metric: Metric
    work_unit: str
    index: dict[str, Any]
    eval_scores: dict[str, dict[str, float]]
    dev_scores: dict[str, dict[str, float]]
    checkpoints: dict[int, float]
    notes: dict[str, list[str]]

    @property
    def dev_column(self) -> str:
        """The column of the dev score."""
        return f"dev_{self.metric.column}"

    @property
    def eval_column(self) -> str:
        """The column of the eval score."""
        return f"eval_{self.metric.column}"


def comparison_folder(results: Path, task: str, preset: str) -> Path:
    """Where the results of a task and preset are, which no name can lead out of.

    Raises:
        BenchError: a name is not one.
    """
    for name in (task, preset):
        if name in ("", ".", "..") or Path(name).name != name:
            raise BenchError(f"{name!r} is no name of a task or a preset; `bench list` shows the tasks there are")
    return results / task / preset


def select_comparison(folder: Path, fields: Mapping[str, str]) -> None:
    """Make the comparison with these fields of the task (such as its model) the one that ``load_points`` reads.

    Raises:
        BenchError: there is none; the message says which there are.
    """
    found = [index for path in sorted((folder / COMPARISONS).glob("*.json")) if (index := read_json(path))]
    chosen = [index for index in found if fields.items() <= index["setting"]["fields"].items()]
    if not chosen:
        asked = ", ".join(f"{name} {value}" for name, value in fields.items())
        known = "; ".join(
            ", ".join(f"{name} {index['setting']['fields'].get(name)}" for name in fields) for index in found
        )
        raise BenchError(f"no results with {asked} in {folder}; there are: {known or 'none'}")
    latest = max(chosen, key=lambda index: str(index["provenance"].get("started", "")))
    write_json(folder / INDEX, latest)


def load_points(folder: Path) -> Points:
    """The points of a comparison, from its files.

    Raises:
        BenchError: nothing has been run there.
    """
    index = read_json(folder / INDEX)
    if index is None:
        raise BenchError(f"no results in {folder}: run `bench run {folder.parent.name} --preset {folder.name}` first")
    metric = Metric(**index["metric"])
    best_possible = dict(index.get("best_possible", []))
    rows, evals, devs, checkpoints = [], {}, {}, {}
    notes: dict[str, list[str]] = {}
    for method, entry in index["methods"].items():
        for trial in entry["trials"]:
            files = trial_folder(folder, trial["key"])
            record = read_record(files)
            # a failed trial has no scores, whoever wrote any
            scores = (read_json(files / EVAL) or {}) if record["status"] in ("complete", "missed") else {}
            devs[trial["key"]] = record.get("dev") or {}
            if scores:
                evals[trial["key"]] = scores
            if record.get("start"):
                checkpoints[trial["seed"]] = record["start"][metric.column]
            if record.get("notes"):
                notes[method] = list(dict.fromkeys([*notes.get(method, []), *record["notes"]]))
            measured = {
                f"eval_{metric.column}": scores.get(metric.column),
                "best_possible": best_possible.get(record.get("macs_ratio", 0.0)),
            }
            rows.append(_row(index, method, trial, record, files) | measured)
    columns = [*COLUMNS[:8], f"dev_{metric.column}", f"eval_{metric.column}", *COLUMNS[8:]]
    table = pd.DataFrame(rows, columns=columns)
    return Points(folder, table, metric, index["work_unit"], index, evals, devs, checkpoints, notes)


def _row(
    index: dict[str, Any], method: str, trial: dict[str, Any], record: dict[str, Any], files: Path
) -> dict[str, Any]:
    latency, column = read_json(files / LATENCY) or {}, Metric(**index["metric"]).column
    dense_macs, effective = record.get("dense_macs"), record.get("effective_macs")
    kept = ("params", "macs", "effective_macs", "bops", "size_bytes", "macs_ratio", "train_steps", "total_steps")
    ledger = ("train_macs", "train_cpu_s", "start_train_macs", "start_cpu_s", "cpu_s", "peak_memory_mb")
    return {
        **{name: record.get(name) for name in (*kept, *ledger, "status", "reason")},
        **{name: trial[name] for name in ("budget", "seed", "trial", "chosen", "key")},
        **{name: latency.get(name) for name in COLUMNS if name.startswith("latency_")},
        "task": index["task"],
        "preset": index["preset"],
        "method": method,
        "stage": index["methods"][method]["stage"],
        "control": index["methods"][method]["control"],
        "settings": json.dumps(trial["settings"], sort_keys=True),
        "run_id": (read_json(files / TRACKED) or {}).get("run_id"),
        "effective_macs_ratio": effective / dense_macs if effective is not None and dense_macs else None,
        f"dev_{column}": (record.get("dev") or {}).get(column),
    }
