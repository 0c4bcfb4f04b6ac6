"""MLflow: one flat run for every trial, with tags that filter and metrics named with their units."""

import json
import logging
import os
import re
import warnings
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

from bench.errors import BenchError
from bench.points import TRACKED, Points, read_json, read_record, trial_folder
from bench.provenance import without_password
from bench.trial import MODEL, RECORD, write_json

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


def default_uri(results: Path) -> str:
    """A SQLite database in the results folder."""
    return f"sqlite:///{(results / 'mlflow.db').resolve()}"


class Tracker:
    """Logs finished trials to one experiment, which only the supervisor does.

    Args:
        uri: of the tracking store: ``sqlite:///…``, ``postgresql+psycopg://…`` or a server.
        experiment: its name.
        artifacts: folder of the experiment's files, for stores without a server of their own.

    Raises:
        BenchError: the store cannot be reached; the message names it.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        self.name = without_password(uri)  # what trials note as the place they have been logged to
        try:
            self._client = MlflowClient(uri)  # set_tracking_uri() would change the environment of the process
            found = self._client.get_experiment_by_name(experiment)
            location = None if uri.startswith("http") else artifacts.resolve().as_uri()
            self.experiment_id = found.experiment_id if found else self._client.create_experiment(experiment, location)
        except (MlflowException, OSError) as error:
            raise BenchError(f"MLflow store {self.name!r} cannot be used: {error}") from error

    def known(self, run_id: str) -> bool:
        """Whether the store has this run."""
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:
            return False

    def log(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        curve: list[dict[str, float]],
        files: list[Path],
        failed: bool,
    ) -> str:
        """Log one finished trial; returns the id of its run."""
        run = self._client.create_run(self.experiment_id, run_name=name, tags=dict(tags))
        start = run.info.start_time
        points = [Metric(key, value, start, 0) for key, value in metrics.items()]
        points += [
            Metric(f"train_{key}", point[key], start, int(point["step"]))
            for point in curve
            for key in ("loss", "learning_rate")
        ]
        self._client.log_batch(
            run.info.run_id,
            metrics=points[:1000],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        for path in files:
            if path.exists():
                self._client.log_artifact(run.info.run_id, str(path))
        self._client.set_terminated(run.info.run_id, "FAILED" if failed else "FINISHED")
        return str(run.info.run_id)

    def add(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Add what was measured after the trial: eval scores, latency."""
        start = self._client.get_run(run_id).info.start_time
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, start, 0) for key, value in metrics.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )


def sync_points(tracker: Tracker, points: Points) -> None:
    """Log every trial that the store does not have yet, and what was measured since.

    What has been logged is noted beside each trial, so that nothing is logged twice.

    Raises:
        BenchError: the store refuses or has gone; what is missing is logged the next time.
    """
    try:
        _sync(tracker, points)
    except MlflowException as error:
        raise BenchError(f"MLflow store {tracker.name!r}: {error}") from error


def _sync(tracker: Tracker, points: Points) -> None:
    for row in points.table.to_dict("records"):
        files = trial_folder(points.folder, str(row["key"]))
        known = read_json(files / TRACKED) or {}
        if known.get("store") != tracker.name:
            known = {"store": tracker.name, "run_id": _log(tracker, points, row, files), "final": False}
        if not known["final"] and pd.notna(row["latency_ratio"]):
            scores = {f"eval_{name}": value for name, value in points.eval_scores[str(row["key"])].items()}
            latency = {name: float(row[name]) for name in ("latency_ms", "latency_ratio")}
            tracker.add(known["run_id"], _metric_names({**scores, **latency}), {"chosen": "yes"})
            known["final"] = True
        write_json(files / TRACKED, known)


def _log(tracker: Tracker, points: Points, row: Mapping[Any, Any], files: Path) -> str:
    measured = ("params", "macs", "effective_macs", "bops", "size_bytes", "macs_ratio", "effective_macs_ratio")
    numbers = {name: float(row[name]) for name in (*measured, "cpu_s") if pd.notna(row[name])}
    dev = {f"dev_{name}": value for name, value in points.dev_scores[str(row["key"])].items()}
    budget = "" if pd.isna(row["budget"]) else f"{row['budget']:g}"
    tags = {name: str(row[name]) for name in ("task", "preset", "method", "stage", "seed", "status", "reason", "key")}
    return tracker.log(
        f"{row['method']} {budget} seed {row['seed']}",
        tags={**tags, "budget": budget, "control": "yes" if row["control"] else "no"},
        params={**json.loads(str(row["settings"])), "seed": row["seed"]},
        metrics=_metric_names({**numbers, **dev}),
        curve=read_record(files).get("curve", []),
        files=[files / RECORD, files / MODEL],
        failed=row["status"] == "failed",
    )


def _metric_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """The names in the letters that MLflow allows, whatever a task calls its breakdowns."""
    words = {"+": "plus", "<": "below ", ">=": "from ", ">": "above "}
    found = {}
    for name, value in metrics.items():
        plain = reduce(lambda text, sign: text.replace(sign, words[sign]), words, name)
        found[re.sub(r"[^\w\-. :/]", "_", plain)] = value
    return found
