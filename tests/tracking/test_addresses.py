"""Addresses of stores: passwords are never shown, what is no store is refused at once, and nothing else is asked."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bench.errors import BenchError
from bench.runner.command import checked
from bench.runner.request import Request
from bench.tracking.store import Tracker
from bench.tracking.view import serve
from tests.servers import free_port

EXPERIMENT = "antispoof quick"


@pytest.mark.parametrize(
    "uri", ["postgresql+psycopg://me:secret@127.0.0.1:1/db",
            "postgresql+psycopg://127.0.0.1:1/db?user=me&password=secret", "http://me:secret@127.0.0.1:1"],
)  # fmt: skip
def test_a_store_that_is_not_there_is_named_without_its_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"127\.0\.0\.1") as raised:
        Tracker(uri, EXPERIMENT, tmp_path)
    assert "secret" not in str(raised.value)


def test_a_store_that_does_not_answer_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself would ask again and again, for minutes in all."""
    monkeypatch.setattr("bench.tracking.store.MlflowClient", lambda uri: pytest.fail("MLflow was asked"))
    monkeypatch.setattr("bench.tracking.view.PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BenchError, match=rf"http://…@{address}.*cannot be used: timed out"):
            Tracker(f"http://me:secret@{address}", EXPERIMENT, tmp_path)


@pytest.mark.parametrize(
    "uri", ["postgresqll://me:secret@127.0.0.1/db", "postgresql:/me:secret@127.0.0.1/db", "postgresql://me:secret",
            "http://me:secret", "http:me:secret@127.0.0.1", "me:secret@127.0.0.1", "file:///secret", "secret", ""],
)  # fmt: skip
def test_an_address_that_cannot_be_read_is_not_repeated(uri: str, tmp_path: Path) -> None:
    for refuse in (lambda: Tracker(uri, EXPERIMENT, tmp_path), lambda: serve(tmp_path, free_port(), uri)):
        with pytest.raises(BenchError, match=r"cannot be read; expected sqlite:///FILE") as raised:
            refuse()
        assert "secret" not in str(raised.value)
    with pytest.raises(BenchError, match="cannot be read"):
        checked(Request("synthetic", "smoke", ("dense",), tmp_path / "results", 1, uri))
    assert not (tmp_path / "results").exists()


def test_the_ui_of_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database\n" * 100)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other, other:
        other.execute("CREATE TABLE recipes (title TEXT)")
    for uri, said in (
        (f"sqlite:///{tmp_path}/text.db", "file is not a database"),
        (f"sqlite:///{tmp_path}/other.db", "other.db is a database of something else"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "…@127.0.0.1:1/db' cannot be used: .*refused"),
        ("http://me:secret@127.0.0.1:1", "http://…@127.0.0.1:1 is a server with a UI of its own"),
    ):
        with pytest.raises(BenchError, match=said):
            serve(tmp_path, free_port(), uri)


COUNTING = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        where = arguments[0] if event.startswith("socket.get") else arguments[1]
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(event, repr(where), file=file)
sys.addaudithook(note)
"""
LOCAL = ("'127.0.0.1'", "'localhost'", "'/", "b'/", "b'\\x00", "'::1'")


def connections(tmp_path: Path, *command: str) -> list[str]:
    """What a command and its children connected to, or looked up, that is not this machine."""
    (tmp_path / "sitecustomize.py").write_text(COUNTING)  # read by every Python process that starts
    (tmp_path / "connections").write_text("")
    quiet = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION")
    quiet += ("MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {
        "CONNECTIONS": str(tmp_path / "connections"),
        "PYTHONPATH": f"{tmp_path}:{os.getcwd()}:{os.environ.get('PYTHONPATH', '')}",
    }
    (tmp_path / "home").mkdir(exist_ok=True)
    with TemporaryDirectory() as short:  # a socket in it has a name of at most 107 signs
        environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": short}
        subprocess.run([sys.executable, *command], env=environment, check=True, timeout=240, stdout=subprocess.DEVNULL)
        left = [str(path) for path in Path(short).rglob("*") if path.is_file()]
    assert not left
    noted = (tmp_path / "connections").read_text().splitlines()
    return [line for line in noted if not line.split(" ", 1)[1].lstrip("(").startswith(LOCAL)]


def test_connections_are_counted(tmp_path: Path) -> None:
    """The count itself: an address that leads nowhere (RFC 5737) is noticed, this machine is not."""
    for host, expected in (("192.0.2.1", 1), ("127.0.0.1", 0)):
        code = f"import socket; s = socket.socket(); s.settimeout(0.1); s.connect_ex(({host!r}, 9))"
        assert len(connections(tmp_path, "-c", code)) == expected


def test_a_run_connects_to_nothing_and_writes_into_no_other_folder(tmp_path: Path) -> None:
    """What Python sees of connections, and all files: ONNX Runtime, in C, would leave its queue in the home folder."""
    arguments = ("--preset", "smoke", "--methods", "dense", "--results", str(tmp_path / "results"))
    assert connections(tmp_path, "-m", "bench", "run", "synthetic", *arguments) == []
    assert (tmp_path / "results" / "synthetic" / "smoke" / "points.csv").exists()
    written = {path.relative_to(tmp_path / "home") for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert {str(path.parent) for path in written} <= {".cache/matplotlib"}, written  # its list of fonts
