"""``bench ui``: the MLflow server on this machine only, in its light form."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from bench.errors import BenchError


def serve(results: Path, port: int, tracking_uri: str | None) -> None:
    """Run the MLflow UI on 127.0.0.1 until it is interrupted.

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
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes in place of 10
        "PYTHONWARNINGS": "ignore",  # of the server's own libraries
    }
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri or f"sqlite:///{database}"]
    command += ["--default-artifact-root", (results / "mlartifacts").resolve().as_uri()]
    command += ["--uvicorn-opts", "--log-level warning"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    print(f"MLflow UI: http://127.0.0.1:{port}   (Ctrl-C ends it)", flush=True)
    try:
        raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)
    except KeyboardInterrupt:
        raise SystemExit(0) from None
