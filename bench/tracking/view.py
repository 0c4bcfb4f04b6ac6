"""What MLflow shows: the run of each trial (tags, metrics with their units), addresses in the UI, and its server."""

import json
import numbers
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import pandas as pd
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from bench.errors import BenchError
from bench.results.index import INDEX
from bench.results.points import Points
from bench.storage.cache import content_key
from bench.storage.provenance import without_password
from bench.trial.record import TrialFolder

DATABASE = "mlflow.db"  # in the results folder: the store, unless another is asked for; notes name it so
ARTIFACTS = "mlartifacts"  # in the results folder
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PATIENCE_S = 10  # with a server that does not answer

_VIEW = "bench"  # name of the prepared view
# MLflow 3 opens an experiment as one of language models, unless its address says that this is training
_TRAINING = "workflowType=machine_learning"


def default_uri(results: Path) -> str:
    """The address of the store in the results folder, whatever signs the name of that has."""
    path = str((results / DATABASE).resolve())
    # MLflow makes the folder of a plain ``sqlite``, as it is quoted
    return f"sqlite:///{path}" if quote(path) == path else f"sqlite+pysqlite:///{quote(path)}"


def artifact_root(results: Path) -> str:
    """The address of the folder that the files of runs are copied to, for stores without a server of their own."""
    return (results / ARTIFACTS).resolve().as_uri()


def adopt(results: Path) -> None:
    """Let the store in a results folder name the files that lie beside it, wherever the folder was before.

    MLflow keeps absolute addresses: a folder that was moved or copied would write to its old place.
    """
    root, engine = artifact_root(results), create_engine(default_uri(results))
    with engine.begin() as store:
        found = store.execute(text("SELECT DISTINCT artifact_location FROM experiments")).scalars().all()
        for old in {old for old in found if old and old.endswith(f"/{ARTIFACTS}") and old != root}:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                moved = text(f"UPDATE {table} SET {column} = REPLACE({column}, :old, :root)")
                store.execute(moved, {"old": old, "root": root})
    engine.dispose()


def require_address(uri: str) -> None:
    """Raise a ``BenchError`` for an address that cannot be read; it may hold a password, and is not repeated."""
    try:
        parts = urlsplit(uri)  # which reads the port when it is asked for it
        server = uri.startswith("http") and parts.hostname and parts.port != 0
        known = server or make_url(uri).get_backend_name() in DATABASES
    except (SQLAlchemyError, ValueError):
        known = False
    if not known:
        raise BenchError(
            "the address of the MLflow store (--tracking-uri, MLFLOW_TRACKING_URI) cannot be read; expected "
            "sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE or http://HOST:PORT"
        )


def require_store(uri: str) -> None:
    """Raise what says why there is no MLflow store at this address, soon: MLflow itself would try for minutes.

    Raises:
        BenchError: there is something else, or the address cannot be read.
        OSError: no server answers.
        SQLAlchemyError: no database answers.
    """
    require_address(uri)
    if uri.startswith("http"):
        parts = urlsplit(uri)
        with suppress(HTTPError):  # it answers
            urlopen(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), timeout=PATIENCE_S).close()
        return
    address = make_url(uri)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
        return  # it is made
    patience = {"connect_timeout": PATIENCE_S} if address.get_backend_name() == "postgresql" else {}
    engine = create_engine(address, connect_args=patience)
    try:
        tables = inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if tables and "experiments" not in tables:
        raise BenchError(f"{without_password(uri)} is a database of something else, not an MLflow store")


def trouble(uri: str, error: Exception) -> BenchError:
    """What a store has raised that refuses or has gone, in one line that names it, without its password."""
    hint = "; see `pip install compression-bench[postgresql]`" if isinstance(error, ImportError) else ""
    said = without_password(str(error)).strip().split("\n")[0].removesuffix(".")
    return BenchError(f"MLflow store {without_password(uri)!r} cannot be used: {said}{hint}")


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
    description = _DESCRIPTION.format(**{name: points.index[name] for name in ("task", "preset")})
    return {"mlflow.note.content": description, f"mlflow.sharedViewState.{_VIEW}": json.dumps(view)}


_DESCRIPTION = """\
Every model that `bench run {task} --preset {preset}` trained is one run; the run named **report** holds the answer:
its artifacts are `front.svg`, `attribution.svg`, `report.html` and `points.csv`.

- Filter by tags: `tags.chosen = "yes"` shows the models that the report compares, `tags.stage = "post_hoc"` one camp,
  and likewise `tags.method`, `tags.budget`, `tags.seed`, `tags.control`, `tags.status`, `tags.kind`.
- `dev_*` scores choose a trial; `eval_*` is read once, for chosen ones. `macs_ratio` and `latency_ratio` are shares of
  the dense model's. `train_loss` and `train_learning_rate` are curves by training step; `method_*` is what a method
  has logged.
- A run starts and ends when its trial did. Failed trials are here too, with their `reason`.
"""


#: columns of the table that say which trial it is; what else is a number is a metric
_NAMES = ("task", "preset", "method", "stage", "seed", "trial", "status", "reason", "key")


@dataclass(frozen=True)
class TrialRun:
    """The run of one trial."""

    name: str  # how the UI lists it
    folder: TrialFolder
    tags: dict[str, str]  # what filters
    params: dict[str, Any]  # hyperparameters, as asked
    metrics: dict[str, float]  # what was measured, each name with its unit

    @property
    def digest(self) -> str:
        """Names what the run says, so that a change is noticed."""
        return content_key({"tags": self.tags, "metrics": self.metrics})


def origin(points: Points, store: str) -> str:
    """Names the results folder, as several may be logged to one store; its own one may be moved with it."""
    folder = points.folder
    return f"{folder.parent.name}/{folder.name}" if store == DATABASE else f"{platform.node()}:{folder.resolve()}"


def trial_runs(points: Points, store: str) -> list[TrialRun]:
    """A run for each row of the table, for the store that notes call so."""
    place = origin(points, store)
    return [_trial_run(points, row, place) for row in points.table.to_dict("records")]


def _trial_run(points: Points, row: Mapping[Any, Any], place: str) -> TrialRun:
    key, budget = str(row["key"]), "" if pd.isna(row["budget"]) else f"{row['budget']:g}"
    measured = {name: float(value) for name, value in row.items() if _is_metric(name, value)}
    dev = {f"dev_{name}": value for name, value in points.dev_scores.get(key, {}).items()}
    evals = {f"eval_{name}": value for name, value in points.eval_scores.get(key, {}).items()}
    logged = {f"method_{name}": value for name, value in points.logged.get(key, {}).items()}
    fields = {name: str(value) for name, value in points.index["setting"]["fields"].items()}
    own = {name: "" if pd.isna(row[name]) else str(row[name]) for name in _NAMES}
    flags = {name: "yes" if row[name] else "no" for name in ("control", "chosen")}
    return TrialRun(
        name=" ".join(filter(None, (str(row["method"]), budget, f"seed {row['seed']}"))),
        folder=TrialFolder.of(points.folder, key),
        tags={**fields, **own, **flags, "kind": "trial", "budget": budget, "results": place},
        params={**json.loads(str(row["settings"])), "seed": row["seed"]},
        metrics=metric_names({**measured, **dev, **evals, **logged}),
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
    spelled = {re.sub("[+<]|>=?", lambda sign: words[sign[0]], name): value for name, value in metrics.items()}
    return {re.sub(r"[^\w\-. :/]", "_", name): value for name, value in spelled.items()}


def serve(results: Path, port: int, tracking_uri: str | None) -> None:
    """Become the MLflow server on 127.0.0.1, in its light form, until it is interrupted.

    Raises:
        BenchError: there is nothing to show, what is there is no MLflow store, or the port is taken.
    """
    database, store = (results / DATABASE).resolve(), default_uri(results) if tracking_uri is None else tracking_uri
    if tracking_uri is None and not database.exists():
        raise BenchError(f"no {database}: run a comparison first, for instance `make bench TASK=antispoof`")
    require_address(store)
    if store.startswith("http"):
        raise BenchError(f"{without_password(store)} is a server with a UI of its own: open it in a browser")
    try:
        require_store(store)
        if tracking_uri is None:
            adopt(results)
    except (ImportError, OSError, SQLAlchemyError) as error:
        raise trouble(store, error) from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BenchError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from error
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store,  # a command line would show its password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes in place of 10
        "PYTHONWARNINGS": "ignore",  # of the server's own libraries
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # the server is to be the store, not to look for one
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]  # other names: a page of somebody else asks
    command += ["--default-artifact-root", artifact_root(results)]
    command += ["--uvicorn-opts", "--log-level warning"]
    print(f"MLflow UI: {address}   (Ctrl-C ends it)", flush=True)
    for name, path in _experiments(results, without_password(tracking_uri) if tracking_uri else DATABASE):
        print(f"{name}: {address}{path}", flush=True)
    os.execve(sys.executable, command, environment)  # so that whoever stops this process stops the server


def _experiments(results: Path, store: str) -> Iterator[tuple[str, str]]:
    """The comparisons that have been logged to this store, and where the UI shows their runs."""
    for index in sorted(results.glob(f"*/*/{INDEX}")):
        notes = [TrialFolder(path).mlflow_note() for path in index.parent.glob("trials/*")]
        found = {note["experiment_id"] for note in notes if note.get("store") == store and "experiment_id" in note}
        for experiment_id in sorted(found):
            yield f"{index.parent.parent.name} {index.parent.name}", experiment_address(experiment_id)
