"""What a comparison has measured: the table of its points."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.export.runtimes import TIMED_IN, in_words
from bench.plugins.task import Metric
from bench.results.index import INDEX, KEY_LENGTH, read_index
from bench.trial.record import MISSING, Scores, TrialFolder, TrialRecord

DEFAULT_RESULTS = Path("results")

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
    def key(self) -> str:
        """The beginning of the key of the comparison, as commands show and take it."""
        return str(self.index["identity"])[:KEY_LENGTH]

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

    def export_command(self, *choosing: str) -> str:
        """The command that writes the files of a model, which these options choose: ``"--trial", key``."""
        results = self.folder.parent.parent
        where = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
        preset = ["--preset", self.index["preset"]]
        return shlex.join(["bench", "export", self.index["task"], *preset, *choosing, *where])

    @property
    def by_key(self) -> pd.DataFrame:
        """One row of ``table`` for each trial, by its key: several method specs may mean one trial."""
        return self.table.drop_duplicates("key").set_index("key")

    @property
    def trained(self) -> pd.DataFrame:
        """The rows of ``table``, less those of methods that declined, which have trained nothing."""
        return self.table[self.table["status"] != "declined"]


def load_points(folder: Path, index: dict[str, Any] | None = None) -> Points:
    """The points of a comparison, from its files: of the one that is read unless another index is given.

    Raises:
        BenchError: nothing has been run there, or the index is damaged.
    """
    index = index or read_index(folder / INDEX)
    if index is None:
        raise BenchError(_unreadable(folder))
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
                evals[key] = dict(sorted(scores.items(), key=_headline_first))
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


def _unreadable(folder: Path) -> str:
    """Why no comparison can be read there, and what to do."""
    run = f"run `bench run {folder.parent.name} --preset {folder.name}`"
    if (folder / INDEX).exists():
        return f"{folder / INDEX} is damaged: {run}; finished trials are kept"
    there = sorted(
        {path.parent.relative_to(folder.parent.parent) for path in folder.parent.parent.glob(f"*/*/{INDEX}")}
    )
    known = f"there are those of {', '.join(map(str, there))}; or " if there else ""
    return f"no results in {folder}: {known}{run} first"


def _headline_first(score: tuple[str, float]) -> tuple[list[float], str]:
    """The order of scores: by the numbers in the names of their parts, so that 5-15 dB comes before 15-25 dB."""
    part = score[0].partition("/")[2]
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", part)], score[0]


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
