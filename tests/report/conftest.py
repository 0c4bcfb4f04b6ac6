"""What the tests of the report share."""

from pathlib import Path

import pytest

from bench.report import write_report
from tests.report.cases import write_full
from tests.written import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A comparison without trials."""
    return Written(tmp_path / "results" / "antispoof" / "quick")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full case with its report, for tests that only read."""
    folder = write_full(Written(tmp_path_factory.mktemp("results") / "antispoof" / "quick"))
    write_report(folder)
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, which take a second to draw, for tests of what else they say."""
    monkeypatch.setattr("bench.report.figures.draw_figures", lambda data: {})
