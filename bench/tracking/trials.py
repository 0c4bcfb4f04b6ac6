"""What MLflow shows: the run of each trial (tags, metrics with their units, curves), and where the UI shows it."""

import json
import numbers
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd

from bench.results.points import Points
from bench.storage.cache import content_key
from bench.trial.record import MISSING, Scores, TrialFolder

_VIEW = "bench"  # name of the prepared view
# MLflow 3 opens an experiment as one of language models, unless its address says that this is training
_TRAINING = "workflowType=machine_learning"


def experiment_address(experiment_id: str) -> str:
    """Path of an experiment's runs in the UI, to be appended to the address of the server."""
    return f"/#/experiments/{experiment_id}/runs?{_TRAINING}&viewStateShareKey={_VIEW}"


def run_address(experiment_id: str, run_id: str) -> str:
    """Path of one run in the UI, to be appended to the address of the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{_TRAINING}"


def experiment_tags(points: Points) -> dict[str, str]:
    """The tags that the UI reads of an experiment: its description, and the view with the columns that matter."""
    columns = [f"metrics.`{name}`" for name in (points.eval_column, points.dev_column, "macs_ratio", "latency_ratio")]
    columns += [f"tags.`{name}`" for name in ("chosen", "stage", "budget", "seed", "status")]
    view = {
        "selectedColumns": ["attributes.`Duration`", *columns],
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }
    return {
        "mlflow.note.content": _describe(points.index["task"], points.index["preset"]),
        f"mlflow.sharedViewState.{_VIEW}": json.dumps(view),
    }


def _describe(task: str, preset: str) -> str:
    return f"""\
Every model that `bench run {task} --preset {preset}` trained is one run; the run named **report** holds the answer:
its artifacts are `front.svg`, `report.html` and `points.csv`.

- Filter by tags: `tags.chosen = "yes"` shows the models that the report compares, `tags.stage = "post_hoc"` one camp,
  and likewise `tags.method`, `tags.budget`, `tags.seed`, `tags.control`, `tags.status`, `tags.kind`.
- `dev_*` scores choose a trial; `eval_*` is read once, for chosen ones. `macs_ratio` and `latency_ratio` are shares of
  the dense model's. `train_loss` and `train_learning_rate` are curves by training step.
- A run starts and ends when its trial did. Failed trials are here too, with their `reason`.
"""


#: columns of the table that say which trial it is; what else is a number is a metric
_NAMES = ("task", "preset", "method", "stage", "seed", "trial", "status", "reason", "key")


@dataclass(frozen=True)
class TrialRun:
    """The run of one trial.

    Attributes:
        name: how the UI lists it.
        folder: its files.
        tags: what filters.
        params: hyperparameters, as asked.
        metrics: what was measured, each name with its unit.
        files: its artifacts.
        failed: whether there is no model.
    """

    name: str
    folder: TrialFolder
    tags: dict[str, str]
    params: dict[str, Any]
    metrics: dict[str, float]
    files: tuple[Path, ...]
    failed: bool

    @property
    def digest(self) -> str:
        """Names what the run says, so that a change is noticed."""
        return content_key({"tags": self.tags, "metrics": self.metrics})

    def curve(self) -> list[Scores]:
        """The learning curve, read from the record."""
        points = (self.folder.record() or MISSING).curve or []
        return [{k if k == "step" else f"train_{k}": v for k, v in point.items()} for point in points]

    def times(self) -> tuple[float | None, float | None]:
        """When the trial started and ended (unix s), as far as its record knows."""
        record = self.folder.record() or MISSING
        return record.started_at, record.ended_at


def origin(points: Points) -> str:
    """Names the results folder, as several may be logged to one store."""
    return f"{platform.node()}:{points.folder.resolve()}"


def trial_runs(points: Points) -> list[TrialRun]:
    """A run for each row of the table."""
    return [_trial_run(points, row) for row in points.table.to_dict("records")]


def _trial_run(points: Points, row: Mapping[Any, Any]) -> TrialRun:
    key, budget = str(row["key"]), "" if pd.isna(row["budget"]) else f"{row['budget']:g}"
    measured = {name: float(value) for name, value in row.items() if _is_metric(name, value)}
    dev = {f"dev_{name}": value for name, value in points.dev_scores.get(key, {}).items()}
    evals = {f"eval_{name}": value for name, value in points.eval_scores.get(key, {}).items()}
    fields = {name: str(value) for name, value in points.index["setting"]["fields"].items()}
    own = {name: "" if pd.isna(row[name]) else str(row[name]) for name in _NAMES}
    flags = {name: "yes" if row[name] else "no" for name in ("control", "chosen")}
    folder = TrialFolder.of(points.folder, key)
    return TrialRun(
        name=" ".join(filter(None, (str(row["method"]), budget, f"seed {row['seed']}"))),
        folder=folder,
        tags={**fields, **own, **flags, "kind": "trial", "budget": budget, "results": origin(points)},
        params={**json.loads(str(row["settings"])), "seed": row["seed"]},
        metrics=metric_names({**measured, **dev, **evals}),
        files=(folder.record_path, folder.model_path),
        failed=row["status"] == "failed",
    )


def _is_metric(name: str, value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and not pd.isna(value) and name not in (*_NAMES, "budget", "control", "chosen")


def metric_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics by names that MLflow allows; tasks may name their breakdowns as they like.

    >>> metric_names({"dev_eer_percent/<5 dB": 8.0})
    {'dev_eer_percent/below 5 dB': 8.0}
    """
    words = {"+": "plus", "<": "below ", ">=": "from ", ">": "above "}
    found = {}
    for name, value in metrics.items():
        plain = reduce(lambda text, sign: text.replace(sign, words[sign]), words, name)
        found[re.sub(r"[^\w\-. :/]", "_", plain)] = value
    return found
