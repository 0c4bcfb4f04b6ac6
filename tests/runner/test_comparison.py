"""What a comparison is asked for, and its end: what cannot be read on eval or timed stops nobody else."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bench.plugins.method import RATE, MethodSpec
from bench.plugins.task import Progress
from bench.runner.comparison import Comparison
from bench.runner.progress import Screen
from bench.runner.request import Request
from bench.trial import evaluate
from bench.trial.record import EVAL, EVAL_ITEMS, LATENCY, TrialFolder
from bench.trial.setting import Setting
from tests.conftest import SmokeRun
from tests.jobs import Here

RUNNER = "bench.runner.comparison"


@pytest.fixture
def searched(synthetic_smoke: SmokeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A copy of a finished comparison, none of whose chosen models has been read on eval or timed."""
    monkeypatch.setattr(f"{RUNNER}.BackgroundTracker", Mock())
    results = Path(shutil.copytree(synthetic_smoke.results, tmp_path / "results"))
    for name in (EVAL, EVAL_ITEMS, LATENCY):
        for path in results.rglob(name):
            path.unlink()
    screen = Mock(spec=Screen)
    comparison = Comparison(Request("synthetic", "smoke", ("uniform_width",), results, 1), Here(1, screen), screen)
    comparison.prepare()
    comparison.search()
    screen.reset_mock()
    assert len(comparison._frozen()) == 2
    return comparison


def labels(comparison: Comparison) -> list[str]:
    """Of the jobs that have ended."""
    ended: Mock = comparison.screen.job_ended  # type: ignore[assignment]
    return [call.args[0].label for call in ended.call_args_list]


def states(comparison: Comparison) -> list[tuple[str | None, str]]:
    return [(trial.record.status, trial.record.reason) for trial in comparison._frozen() if trial.record]


def test_a_model_that_cannot_be_read_on_eval_is_a_failed_trial(
    searched: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = searched._frozen()

    def broken(setting: Setting, folder: TrialFolder, report: Progress) -> None:
        if folder == searched._files(first):
            raise ValueError("NaN")
        evaluate.evaluate_model(setting, folder, report)

    monkeypatch.setattr(f"{RUNNER}.evaluate_model", broken)
    searched.finish()
    assert searched._frozen() == [first, second]  # another trial is not chosen in its place
    assert states(searched) == [("failed", "eval: ValueError: NaN"), ("complete", "")]
    assert searched._files(second).eval_scores() and searched._files(second).latencies()
    record = searched._files(first).record()
    assert record is not None and record.retry and searched._files(first).latencies() is None
    assert labels(searched) == [f"{first.label}: eval", f"{second.label}: eval", "latency"]


def test_a_model_that_cannot_be_timed_is_a_failed_trial(searched: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = searched._frozen()
    real = evaluate.latencies

    def broken(task: Any, folder: TrialFolder, *dense: Any) -> dict[str, float]:
        if folder == searched._files(first):
            raise ValueError("no such length")
        return real(task, folder, *dense)

    monkeypatch.setattr(evaluate, "latencies", broken)
    searched.finish()
    assert states(searched) == [("failed", "latency: ValueError: no such length"), ("complete", "")]
    assert searched._files(second).latencies()


def test_a_model_whose_bits_are_simulated_is_not_timed(searched: Comparison) -> None:
    first, second = searched._frozen()
    assert first.record is not None and first.record.simulated is False
    first.record.simulated = True
    searched.finish()
    assert searched._files(first).latencies() is None and searched._files(second).latencies()
    assert searched._files(first).eval_was_read


def test_trials_with_the_same_key_are_measured_once(searched: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a method under two specs that mean the same."""
    frozen, timed = searched._frozen(), []
    monkeypatch.setattr(searched, "_frozen", lambda: [*frozen, frozen[0]])
    monkeypatch.setattr(f"{RUNNER}.time_models", lambda setting, folders, report: timed.extend(folders) or {})
    searched.finish()
    assert len(labels(searched)) == 3 and len(timed) == 2


def test_damaged_scores_of_single_items_are_made_again(searched: Comparison) -> None:
    searched.finish()
    first, files = searched._frozen()[0], searched._files(searched._frozen()[0])
    whole = files.item_scores()
    assert whole is not None
    (files.path / EVAL_ITEMS).write_bytes((files.path / EVAL_ITEMS).read_bytes()[:100])
    before = len(labels(searched))
    searched.finish()
    again = files.item_scores()
    assert again is not None and (again.scores == whole.scores).all()
    assert labels(searched)[before:] == [f"{first.label}: eval"]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results that nothing is logged from."""
    monkeypatch.setattr("bench.runner.comparison.BackgroundTracker", Mock())
    return tmp_path


def comparison(results: Path, preset: str = "smoke", **asked: Any) -> Comparison:
    request = Request("synthetic", preset, ("dense",), results, 1, **asked)
    return Comparison(request, Mock(workers=1), Mock())


def test_a_budget_that_is_named_twice_is_one(results: Path) -> None:
    assert comparison(results, budgets=(0.25, 0.5, 0.25)).budgets == (0.5, 0.25)


@pytest.mark.parametrize(("preset", "tuning"), [("smoke", 0), ("full", 4)])
@pytest.mark.parametrize("budgets", [(0.5,), (0.5, 0.25, 0.125), None])
def test_other_budgets_are_tuned_as_much_as_those_of_the_preset(
    results: Path, budgets: tuple[float, ...] | None, preset: str, tuning: int
) -> None:
    found = comparison(results, preset, budgets=budgets)
    assert found.per_method == len(found.budgets) + tuning
    assert comparison(results, preset, budgets=budgets, trials=7).per_method == 7


def test_a_distilled_comparison_is_another_one(results: Path) -> None:
    settings = [comparison(results, distill=on).setting for on in (False, True)]
    assert [setting.made_from["distill"] for setting in settings] == [False, True]


def test_a_default_that_was_changed_is_what_is_tried(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison(results).prepare()
    before = MethodSpec.defaults
    monkeypatch.setattr(MethodSpec, "defaults", lambda spec: {**before(spec), RATE: 0.5})
    again = comparison(results)
    again.prepare()  # the journal of the first study has the trials that it began with
    assert {one.settings[RATE] for study in again._studies.values() for one in study.proposals()} == {0.5}


def test_studies_of_other_widths_have_other_journals(results: Path) -> None:
    for multiple in (1, 4):
        comparison(results, width_multiple=multiple).prepare()
    assert len(list(results.glob("synthetic/smoke/studies/*.journal"))) == 2
