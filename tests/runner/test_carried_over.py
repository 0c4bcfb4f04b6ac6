"""What tuning finds at one budget is tried at all: otherwise a front is tuned where the search was lucky."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.plugins.registry import load_method_spec
from bench.plugins.task import Metric
from bench.runner.planned import PlannedTrial, carried_over, chosen_trials
from bench.trial.record import TrialRecord
from bench.trial.setting import Setting, TrialSpec
from tests.conftest import Finished

METRIC = Metric("eer", unit="percent", direction="minimize")
BUDGETS = (0.5, 0.25)


def trial(
    number: int, budget: float, dev: float | None, method: str = "magnitude_pruning", **tuned: object
) -> PlannedTrial:
    spec = load_method_spec(method)
    column = {} if dev is None else {METRIC.column: dev}
    record = TrialRecord("failed" if dev is None else "complete", dev=column, dense_macs=10, effective_macs=5)
    settings = {**spec.at_compute(budget), **tuned}
    return PlannedTrial(spec, number, TrialSpec(Setting("synthetic", "smoke"), method, settings, 0), "search", record)


def defaults(*errors: float | None, method: str = "magnitude_pruning") -> list[PlannedTrial]:
    return [trial(n, budget, dev, method) for n, (budget, dev) in enumerate(zip(BUDGETS, errors, strict=True))]


def test_the_settings_that_gain_most_are_tried_at_every_budget() -> None:
    slow, fast = trial(2, 0.5, 7.9, norm=1), trial(3, 0.2, 9.0, rounds=4, dense_share=0.5, learning_rate_factor=2.5)
    found = carried_over([*defaults(8.0, 14.0), slow, fast], METRIC, BUDGETS)
    assert [(one.number, one.asked_compute, one.role, one.spec.seed) for one in found] == [
        (4, 0.5, "search", 0),
        (5, 0.25, "search", 0),
    ]
    assert all({**one.spec.settings, "budget": 0.2} == fast.spec.settings for one in found)


def test_what_was_tuned_is_said_beside_the_label() -> None:
    tuned = trial(2, 0.5, 7.9, norm=1, learning_rate_factor=0.6309)
    assert (tuned.label, tuned.tuned) == ("magnitude_pruning at 0.5", ", norm=1, learning_rate_factor=0.631")
    assert [one.tuned for one in defaults(8.0, 9.0, method="stochastic_gates+magnitude_pruning")] == ["", ""]


def test_settings_are_not_tried_again_where_they_were_tuned() -> None:
    found = carried_over([*defaults(8.0, 14.0), trial(2, 0.25, 9.0, rounds=4)], METRIC, BUDGETS)
    assert [one.asked_compute for one in found] == [0.5]


def test_each_link_of_a_chain_approaches_the_budget_as_it_does_by_default() -> None:
    chain = "stochastic_gates+magnitude_pruning"
    found = carried_over([*defaults(8.0, 9.0, method=chain), trial(2, 0.45, 7.0, chain, rate=3.0)], METRIC, BUDGETS)
    assert [{name: own for name, own in one.spec.settings.items() if "budget" in name} for one in found] == [
        {"budget": 0.5**0.5, "magnitude_pruning.budget": 0.5},
        {"budget": 0.5, "magnitude_pruning.budget": 0.25},
    ]
    assert [one.spec.settings["rate"] for one in found] == [3.0, 3.0]


@pytest.mark.parametrize(
    "tuned",
    [
        [],
        [trial(2, 0.5, 8.0)],  # no better than the defaults
        [trial(2, 0.5, None)],  # it failed
        [trial(2, 0.5, math.inf)],
        [trial(2, 0.7, 1.0)],  # at no budget of the comparison
    ],
)
def test_nothing_is_carried_over_unless_it_gained(tuned: list[PlannedTrial]) -> None:
    assert carried_over([*defaults(8.0, 14.0), *tuned], METRIC, BUDGETS) == []


def test_settings_that_train_where_the_defaults_fail_gain_most() -> None:
    found = carried_over(
        [*defaults(8.0, None), trial(2, 0.5, 6.0, norm=1), trial(3, 0.2, 9.0, rounds=4)], METRIC, BUDGETS
    )
    assert [one.spec.settings["rounds"] for one in found] == [4, 4]


def test_a_method_without_a_budget_has_nowhere_to_carry_its_settings() -> None:
    tuned = trial(2, 0.5, 1.0, "quantization")
    assert carried_over([trial(0, 0.5, 8.0, "quantization"), tuned], METRIC, BUDGETS) == []


def test_of_all_that_was_tried_at_a_budget_dev_chooses() -> None:
    searched = [*defaults(8.0, 14.0), trial(2, 0.2, 9.0, rounds=4)]
    carried = carried_over(searched, METRIC, BUDGETS)
    for one, dev in zip(carried, (8.5, 8.9), strict=True):
        one.record = TrialRecord("complete", dev={METRIC.column: dev}, dense_macs=10, effective_macs=5)
    chosen = chosen_trials([*searched, *carried], METRIC, BUDGETS)
    assert [(one.number, one.asked_compute) for one in chosen] == [(0, 0.5), (4, 0.25)]


def test_what_is_carried_over_is_trained_and_chosen_from(
    tmp_path: Path, bench_here: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    def carried(trials: Sequence[PlannedTrial], *_: object) -> list[PlannedTrial]:
        assert all(one.record is not None and one.role == "search" for one in trials)
        last = max((one for one in trials if one.method_spec.name == "magnitude_pruning"), key=lambda one: one.number)
        spec = replace(last.spec, settings={**last.spec.settings, "budget": 0.9})
        return [PlannedTrial(last.method_spec, last.number + 1, spec, "search")]

    monkeypatch.setattr("bench.runner.planned.carried_over", carried)
    asked = ("--methods", "dense,magnitude_pruning", "--budgets", "0.5,0.25", "--trials", "3", "--results", tmp_path)
    for _ in range(2):  # the second time everything is there
        run = bench_here("run", "synthetic", "--preset", "smoke", *asked)
        assert run.code == 0, run.output
        points = pd.read_csv(tmp_path / "synthetic" / "smoke" / "points.csv")
        (last,) = points[(points["method"] == "magnitude_pruning") & (points["trial"] == 3)].to_dict("records")
        assert last["status"] == "complete" and last["chosen"] and last["budget"] == 0.9  # alone above all budgets
