"""Where numbers come from is recorded; secrets are not."""

import sys
from importlib.metadata import PackageNotFoundError

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


@pytest.mark.parametrize(
    "store",
    ["postgresql+psycopg://me:p/w a@host/db", "postgresql+psycopg://host/db?user=me&password=p/w&x=1", "//me:p/w@host"],
)
def test_odd_passwords_are_not_recorded_either(store: str) -> None:
    assert "p/w" not in without_password(store) and "host" in without_password(store)


def test_a_package_that_is_not_installed_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel without its extras has no torch-pruning, and used to fail at the end of its first comparison."""

    def version(package: str) -> str:
        if package in ("torch-pruning", "compression-bench"):
            raise PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr("importlib.metadata.version", version)
    packages = provenance()["packages"]
    assert packages["torch-pruning"] == packages["compression-bench"] == "not installed"
    assert packages["torch"] == packages["optuna"] == "1.2.3"
