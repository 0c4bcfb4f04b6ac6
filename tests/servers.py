"""Real servers for tests: the MLflow server that ``bench ui`` starts, and a private PostgreSQL."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE_S = 120.0  # a machine under load takes half a minute to import MLflow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class UiServer:
    """``bench ui`` in a process group of its own."""

    results: Path
    port: int
    store: str | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.results / "ui.log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "bench", "ui", "--results", str(self.results), "--port", str(self.port)]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        if self.store:
            environment["MLFLOW_TRACKING_URI"] = self.store
        with (self.results / "ui.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # ended already
                os.killpg(self._process.pid, how)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def ui_server(results: Path, store: str | None = None) -> Iterator[UiServer]:
    server = UiServer(results, free_port(), store)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)


class PostgreSQL:
    """A cluster of its own under a temporary folder, on a port of 127.0.0.1, with a password."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.port, self.password = free_port(), secrets.token_hex(8)
        # the server refuses to run as root; its Debian package makes a user for it
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        (folder / "password").write_text(self.password)
        for path in (folder, folder / "password"):
            shutil.chown(path, self.user)
        login = ["-U", "me", "--pwfile", str(folder / "password"), "--auth", "scram-sha-256"]
        self._run("initdb", "-D", str(folder / "data"), "--no-sync", "--locale", "C", "--encoding", "UTF8", *login)

    def uri(self, password: str | None = None) -> str:
        return f"postgresql+psycopg://me:{password or self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """As a crash: connections are cut."""
        self._control("stop", "-w", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        own = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            timeout=PATIENCE_S,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,  # no pipe: the server would keep it open
            **(own if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        )


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A running server; skips where PostgreSQL's programs are not installed."""
    places = [Path(found).parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="bench-postgresql-"))
    server = PostgreSQL(programs, folder)
    server.start()
    try:
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder)
