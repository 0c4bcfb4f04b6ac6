"""``bench ui``: the MLflow server on this machine only, in its light form."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError
from bench.results.points import INDEX
from bench.storage.provenance import without_password
from bench.tracking.trials import experiment_address
from bench.trial.record import TrialFolder


def serve(results: Path, port: int, tracking_uri: str | None) -> None:
    """Become the MLflow server on 127.0.0.1, until it is interrupted.

    Raises:
        BenchError: there is nothing to show, or the port is taken.
    """
    database = (results / "mlflow.db").resolve()
    if tracking_uri is None and not database.exists():
        raise BenchError(f"no {database}: run a comparison first, for instance `make bench TASK=antispoof`")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BenchError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from error
    store = tracking_uri or f"sqlite:///{database}"
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store,  # a command line would show its password
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes in place of 10
        "PYTHONWARNINGS": "ignore",  # of the server's own libraries
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # the server is to be the store, not to look for one
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]  # other names: a page of somebody else asks
    command += ["--default-artifact-root", (results / "mlartifacts").resolve().as_uri()]
    command += ["--uvicorn-opts", "--log-level warning"]
    print(f"MLflow UI: http://127.0.0.1:{port}   (Ctrl-C ends it)", flush=True)
    for name, address in _experiments(results, without_password(store)):
        print(f"{name}: http://127.0.0.1:{port}{address}", flush=True)
    os.execve(sys.executable, command, environment)  # so that whoever stops this process stops the server


def _experiments(results: Path, store: str) -> Iterator[tuple[str, str]]:
    """The comparisons that have been logged to this store, and where the UI shows their runs."""
    for index in sorted(results.glob(f"*/*/{INDEX}")):
        notes = [TrialFolder(path).mlflow_note() for path in index.parent.glob("trials/*")]
        found = {note["experiment_id"] for note in notes if note.get("store") == store and "experiment_id" in note}
        for experiment_id in sorted(found):
            yield f"{index.parent.parent.name} {index.parent.name}", experiment_address(experiment_id)
