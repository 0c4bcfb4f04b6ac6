"""Budgets that no choice of widths reaches are found before anything is trained, and what can be reached only once."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from bench import BenchError
from bench.plugins.registry import load_method_spec, load_task
from bench.runner.comparison import Comparison
from bench.runner.reach import within_reach
from bench.runner.request import Request
from bench.trial.setting import Setting
from tests.jobs import Here


def test_what_can_be_reached_is_found_once_by_a_job(tmp_path: Path) -> None:
    setting, screen = Setting("synthetic", "smoke", cache=str(tmp_path)), Mock()
    budgeted, other = load_method_spec("uniform_width"), load_method_spec("quantization")
    assert within_reach(setting, [other], [1e-6], Here(1, screen)) == ((1e-6,), "")  # asks for no budget
    assert not screen.job_ended.called
    assert within_reach(setting, [other, budgeted], [0.5, 0.25], Here(1, screen)) == ((0.5, 0.25), "")
    assert [call.args[0].key for call in screen.job_ended.call_args_list] == ["reach"]
    with pytest.raises(BenchError, match="nosuch"):  # though no method that takes part changes widths
        within_reach(replace(setting, width_groups=("nosuch",)), [other], [1e-6], Here(1, screen))
    screen.reset_mock()
    reached, why = within_reach(setting, [budgeted], [0.5, 1e-6, 1e-7], Here(1, screen))
    assert reached == (0.5,) and why.startswith("budget 1e-06, 1e-07: no choice of widths")
    assert why.endswith(" of the dense compute") and not screen.job_ended.called


def prepared(results: Path, monkeypatch: pytest.MonkeyPatch, *preset: float, asked: tuple[float, ...] | None) -> Mock:
    """A comparison on a task whose preset has these budgets, ready to begin; its budgets, trials and what it said."""
    task = load_task("synthetic")
    presets = {"smoke": replace(task.presets["smoke"], budgets=preset, trials=len(preset) + 1)}
    monkeypatch.setattr(task, "presets", presets)
    screen = Mock()
    request = Request("synthetic", "smoke", ("uniform_width",), results, 1, "sqlite://", budgets=asked)
    comparison = Comparison(request, Here(1, screen), screen)
    comparison.prepare()
    return Mock(budgets=comparison.budgets, trials=comparison.per_method, said=str(screen.say.call_args_list))


def test_budgets_of_a_preset_that_the_model_does_not_reach_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = prepared(tmp_path, monkeypatch, 0.5, 0.25, 1e-6, asked=None)
    assert found.budgets == (0.5, 0.25) and found.trials == 3  # still one to tune
    assert "left out budget 1e-06: no choice of widths reaches it" in found.said


@pytest.mark.parametrize(("preset", "asked"), [((1e-6, 1e-7), None), ((0.5,), (0.5, 1e-6))])
def test_a_budget_that_was_asked_for_is_refused_and_so_is_a_preset_without_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: tuple[float, ...], asked: tuple[float, ...] | None
) -> None:
    with pytest.raises(BenchError, match=r"budget 1e-06.* no choice of widths .*; choose larger ones with --budgets"):
        prepared(tmp_path, monkeypatch, *preset, asked=asked)
