"""The tracking store: MLflow with SQLite, PostgreSQL or a server behind it."""

import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")  # these are read when mlflow is imported
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is gone is given up after a minute
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from sqlalchemy.exc import SQLAlchemyError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag
    from mlflow.exceptions import MlflowException

from bench.storage.provenance import without_password
from bench.tracking.view import DATABASE, artifact_root, default_uri, require_store, trouble

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

#: what MLflow may raise when the store is gone or refuses
TROUBLE = (MlflowException, SQLAlchemyError, ImportError, OSError)
BATCH = 1000  # metrics that MLflow takes at once


class Tracker:
    """Writes runs to one experiment; only the supervisor does that.

    What is written twice is there once, so that a run whose logging was interrupted can simply be logged again.

    Args:
        uri: of the tracking store: ``sqlite:///…``, ``postgresql+psycopg://…`` or a server.
        experiment: its name.
        results: folder that is logged, where files are copied to by stores without a server of their own.

    Raises:
        BenchError: the store cannot be reached; the message names it, without its password.
    """

    def __init__(self, uri: str, experiment: str, results: Path) -> None:
        self._uri = uri
        #: what trials note as the place they have been logged to
        self.name = DATABASE if uri == default_uri(results) else without_password(uri)
        with self.naming_trouble():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's tables use what SQLAlchemy will drop one day
                self._client = MlflowClient(uri)  # set_tracking_uri() would change the environment of the process
                found = self._client.get_experiment_by_name(experiment)
            location = None if uri.startswith("http") else artifact_root(results)
            if found is None:
                found = self._client.get_experiment(self._client.create_experiment(experiment, location))
        self.experiment_id, self._tags = str(found.experiment_id), dict(found.tags)
        self.experiment = f"{found.experiment_id} of {found.creation_time}"  # no other store at this place has it

    @contextmanager
    def naming_trouble(self) -> Iterator[None]:
        """Turn what the store raises when it refuses or has gone into a ``BenchError`` that names it."""
        try:
            require_store(self._uri)
            yield
        except TROUBLE as error:
            raise trouble(self._uri, error) from None  # the cause may quote the password

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set those tags of the experiment that it does not have."""
        for name, value in tags.items():
            if self._tags.get(name) != value:
                self._client.set_experiment_tag(self.experiment_id, name, value)
                self._tags[name] = value

    def search(self, condition: str) -> dict[str, Run]:
        """The runs of the experiment that meet a condition in MLflow's language and were not deleted, by id."""
        found: dict[str, Run] = {}
        token = None
        while token != "":
            page = self._client.search_runs([self.experiment_id], condition, max_results=1000, page_token=token)
            found |= {str(run.info.run_id): run for run in page}
            token = page.token or ""
        return found

    def find(self, run_id: str) -> Run | None:
        """A run, unless the store does not have it."""
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def start(self, name: str, tags: Mapping[str, str], started_at: float | None) -> str:
        """Begin a run at this time (unix s; None for now); returns its id."""
        start = None if started_at is None else int(1000 * started_at)
        run = self._client.create_run(self.experiment_id, run_name=name, tags=dict(tags), start_time=start)
        return str(run.info.run_id)

    def curve(self, run_id: str, points: Iterable[Mapping[str, float]]) -> None:
        """Log a learning curve: each point has a ``step``, and a value for every ``train_*`` metric."""
        start = self._client.get_run(run_id).info.start_time
        values = [
            Metric(f"train_{name}", value, start, int(point["step"]))
            for point in points
            for name, value in point.items()
            if name != "step"
        ]
        for first in range(0, len(values), BATCH):
            self._client.log_batch(run_id, metrics=values[first : first + BATCH])

    def describe(
        self, run_id: str, *, tags: Mapping[str, str], metrics: Mapping[str, float], params: Mapping[str, Any]
    ) -> None:
        """Log what the run does not say yet, or says otherwise; a parameter stays what it was first."""
        there, now = self._client.get_run(run_id).data, int(1000 * time.time())
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, v, now, 0) for key, v in metrics.items() if there.metrics.get(key) != v],
            params=[Param(key, str(value)) for key, value in params.items() if key not in there.params],
            tags=[RunTag(key, value) for key, value in tags.items() if there.tags.get(key) != value],
        )

    def upload(self, run_id: str, files: Iterable[Path]) -> None:
        """Copy those of the files that are there to the run, in place of earlier ones of the same name."""
        for path in files:
            if path.exists():
                self._client.log_artifact(run_id, str(path))

    def end(self, run_id: str, status: str, ended_at: float | None = None) -> None:
        """End a run: ``FINISHED``, ``FAILED`` or ``KILLED``, at this time (unix s; None for now)."""
        self._client.set_terminated(run_id, status, None if ended_at is None else int(1000 * ended_at))
