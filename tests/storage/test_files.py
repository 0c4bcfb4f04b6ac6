"""Files that are there whole or not at all; one supervisor for each results folder, and what a second one is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import BenchError
from bench.storage.files import LOCK, read_json, sole_supervisor, write_json

HOLD = "import sys, time; from pathlib import Path; from bench.storage.files import sole_supervisor\n"
HOLD += "with sole_supervisor(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"


@pytest.mark.parametrize("content", ["[1]", "3", "null", "{", "[" * 100_000, "\xff"])
def test_what_is_no_object_counts_as_missing(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content, encoding="latin-1")
    assert read_json(tmp_path / "a.json") is None


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"version": 1})

    def fail(handle: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_json(path, {"version": 2})
    assert json.loads(path.read_text()) == {"version": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_a_second_supervisor_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with sole_supervisor(tmp_path):
        run = subprocess.run([sys.executable, "-c", HOLD, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    said = run.stderr.splitlines()[-1]
    assert f"process {os.getpid()} on {os.uname().nodename} since 20" in said
    assert str(tmp_path) in said and "--results" in said
    with sole_supervisor(tmp_path):
        pass  # it has been let go


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(BenchError, match=f"process {holder.pid} "), sole_supervisor(tmp_path):
            pass
        holder.kill()
    with sole_supervisor(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("said", ["", "[1]", '{"pid": 1}', "{"])
def test_a_holder_that_has_not_said_who_it_is_keeps_the_folder_all_the_same(tmp_path: Path, said: str) -> None:
    with sole_supervisor(tmp_path):
        (tmp_path / LOCK).write_text(said)
        with pytest.raises(BenchError, match="has not yet written who it is"), sole_supervisor(tmp_path):
            pass


def test_the_password_of_a_store_is_neither_kept_nor_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "run", "vad", "--tracking-uri", "postgresql://me:secret@host/db"])
    with sole_supervisor(tmp_path):
        assert "secret" not in (tmp_path / LOCK).read_text()
        with pytest.raises(BenchError, match="bench run vad") as refused, sole_supervisor(tmp_path):
            pass
    assert "secret" not in str(refused.value) and "host/db" in str(refused.value)


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("bench.storage.files.fcntl.flock", no_locks)
    with (
        pytest.raises(BenchError, match=r"cannot be locked \(No locks available\).*--results"),
        sole_supervisor(tmp_path),
    ):
        pass
