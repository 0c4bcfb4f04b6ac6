"""Where numbers come from is recorded; secrets are not."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from bench.storage.provenance import provenance, without_password


def test_password_of_a_store_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = "postgresql+psycopg://me:secret@host/db"
    monkeypatch.setattr(sys, "argv", ["bench", "run", "antispoof", "--tracking-uri", store])
    assert "secret" not in str(provenance())
    assert without_password(store) == "postgresql+psycopg://…@host/db"


def test_what_a_reader_needs_is_there() -> None:
    known = provenance()
    for name in ("date", "command", "commit", "python", "processor", "cores"):
        assert known[name], name
    assert known["packages"]["torch"].startswith("2.")
    assert "not installed" not in known["packages"].values() and {"mlflow", "onnx", "scipy"} <= known["packages"].keys()


def test_the_command_can_be_given_to_a_shell_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/bench", "run", "vad", "--data", "/my data", "--methods", "a:x=1;b"])
    assert provenance()["command"] == "bench run vad --data '/my data' --methods 'a:x=1;b'"


def test_the_commit_of_a_checkout_around_a_wheel_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True)
    monkeypatch.setattr("bench.storage.provenance.__file__", str(tmp_path / "provenance.py"))
    assert provenance()["commit"] == "not in a git checkout"


@pytest.mark.parametrize(
    "store",
    ["postgresql+psycopg://me:p/w a@host/db", "postgresql+psycopg://host/db?user=me&password=p/w&x=1", "//me:p/w@host"],
)
def test_odd_passwords_are_not_recorded_either(store: str) -> None:
    assert "p/w" not in without_password(store) and "host" in without_password(store)


def test_a_package_that_is_not_installed_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the sources are run without having been installed; it used to end a first comparison."""

    def version(package: str) -> str:
        if package in ("torch-pruning", "compression-bench"):
            raise PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr("importlib.metadata.version", version)
    packages = provenance()["packages"]
    assert packages["torch-pruning"] == packages["compression-bench"] == "not installed"
    assert packages["torch"] == packages["optuna"] == "1.2.3"
