"""What a comparison is asked for: budgets, and the journals of its studies."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from bench.runner.comparison import Comparison, Request


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results that nothing is logged from."""
    monkeypatch.setattr("bench.runner.comparison.BackgroundTracker", mock.Mock())
    return tmp_path


def comparison(results: Path, **asked: Any) -> Comparison:
    request = Request("synthetic", "smoke", ("dense",), results, 1, **asked)
    return Comparison(request, mock.Mock(workers=1), mock.Mock())


def test_a_budget_that_is_named_twice_is_one(results: Path) -> None:
    assert comparison(results, budgets=(0.25, 0.5, 0.25)).budgets == (0.5, 0.25)


def test_studies_of_other_widths_have_other_journals(results: Path) -> None:
    for multiple in (1, 4):
        comparison(results, width_multiple=multiple).prepare()
    assert len(list(results.glob("synthetic/smoke/studies/*.journal"))) == 2
