"""Controls that follow the search: at each budget the widths of the best in-training method, seed by seed."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from bench.plugins.registry import load_method_spec
from bench.plugins.task import Metric
from bench.runner.planned import PlannedTrial, followers
from bench.trial.record import TrialRecord
from bench.trial.setting import Setting, TrialSpec
from tests.conftest import Finished

METRIC = Metric("eer", unit="percent", direction="minimize")
BUDGETS = (0.5, 0.25)
GIVEN = load_method_spec("given_widths")


def trial(method: str, budget: float, seed: int, dev: float, *, model: bool = True, **tuned: float) -> PlannedTrial:
    spec = load_method_spec(method)
    record = TrialRecord("complete" if model else "failed", dev={"eer_percent": dev}, dense_macs=10, effective_macs=5)
    own = TrialSpec(Setting("synthetic", "smoke"), method, {"budget": budget, **tuned}, seed)
    return PlannedTrial(spec, BUDGETS.index(budget), own, "search" if seed == 0 else "repeat", record)


def sizes(source: PlannedTrial) -> Mapping[str, int]:
    """Widths that tell which seed they come from."""
    return {"stem": 3 + source.spec.seed, "head": 7}


def planned(*trials: PlannedTrial) -> list[PlannedTrial]:
    return followers([GIVEN], trials, METRIC, BUDGETS, sizes)


def test_each_seed_gets_the_widths_of_its_own_model() -> None:
    found = planned(*(trial("feature_noise", 0.5, seed, 9.0) for seed in (0, 1)))
    assert [(t.number, t.spec.seed, dict(t.spec.settings)) for t in found] == [
        (0, 0, {"budget": 0.5, "widths": "stem=3 head=7"}),
        (0, 1, {"budget": 0.5, "widths": "stem=4 head=7"}),
    ]
    assert all(t.method_spec is GIVEN and t.asked_compute == 0.5 for t in found)


def test_the_learning_rate_is_that_of_the_control_that_is_trained_from_scratch_too() -> None:
    noise = [trial("feature_noise", budget, 0, 9.0, learning_rate_factor=0.5) for budget in BUDGETS]
    uniform = [trial("uniform_width", 0.5, 0, 9.5, learning_rate_factor=2.5), trial("random_pruning", 0.25, 0, 1.0)]
    assert [one.spec.settings.get("learning_rate_factor") for one in planned(*noise, *uniform)] == [2.5, None]


def test_the_best_mean_on_dev_is_followed_at_each_budget() -> None:
    noise = [trial("feature_noise", b, s, dev) for b in BUDGETS for s, dev in ((0, 8.0), (1, 12.0))]
    gates = [trial("stochastic_gates", b, s, 9.0 if b == 0.5 else 11.0) for b in BUDGETS for s in (0, 1)]
    found = planned(*noise, *gates)
    assert [(t.number, t.spec.seed) for t in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    by_budget = {t.number: t.spec for t in found}
    assert by_budget[0].settings["budget"] == 0.5 and by_budget[1].settings["budget"] == 0.25


def test_what_found_no_widths_or_did_not_finish_is_not_followed() -> None:
    assert not planned(trial("uniform_width", 0.5, 0, 1.0))
    assert not planned(trial("feature_noise", 0.5, 0, 9.0), trial("feature_noise", 0.5, 1, 9.0, model=False))
    assert not planned(trial("magnitude_pruning", 0.5, 0, 9.0))
    assert not followers([GIVEN], [trial("feature_noise", 0.5, 0, 9.0)], METRIC, BUDGETS, lambda source: {})


def test_widths_of_the_users_own_are_trained_without_a_search(
    tmp_path: Path, bench_here: Callable[..., Finished]
) -> None:
    own = "given_widths:widths=students.0.0=16 students.1.0=9"
    methods = ("--methods", f"{own};dense", "--trials", "1")
    run = bench_here("run", "synthetic", "--preset", "smoke", *methods, "--results", tmp_path)
    assert run.code == 0, run.output
    points = pd.read_csv(tmp_path / "synthetic" / "smoke" / "points.csv").set_index("method")
    assert points.loc[own, "status"] == "complete" and points.loc[own, "macs_ratio"] < 0.9
