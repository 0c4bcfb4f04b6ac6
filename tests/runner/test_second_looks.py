"""What is best with the seed of the search may be the luckiest: it is looked at again, beside the defaults."""

from bench.plugins.registry import load_method_spec
from bench.plugins.task import Metric
from bench.results.index import Role
from bench.runner.planned import PlannedTrial, chosen_trials, repeats, second_looks
from bench.trial.record import TrialRecord
from bench.trial.setting import Setting, TrialSpec

METRIC = Metric("eer", unit="percent", direction="minimize")
BUDGETS = (0.5, 0.25)


def trial(number: int, budget: float, dev: float | None, *, seed: int = 0, role: Role = "search") -> PlannedTrial:
    spec = load_method_spec("magnitude_pruning")
    column = {} if dev is None else {METRIC.column: dev}
    record = TrialRecord("failed" if dev is None else "complete", dev=column, dense_macs=10, effective_macs=5)
    settings = {"budget": budget, "learning_rate_factor": 1.0 + number}
    made = TrialSpec(Setting("synthetic", "smoke"), "magnitude_pruning", settings, seed)
    return PlannedTrial(spec, number, made, role, record)


def described(trials: list[PlannedTrial]) -> list[tuple[int, int, Role]]:
    return [(one.number, one.spec.seed, one.role) for one in trials]


def test_the_defaults_and_what_was_better_are_trained_with_another_seed() -> None:
    search = [trial(0, 0.5, 8.0), trial(1, 0.25, 9.0), trial(2, 0.5, 7.5), trial(3, 0.4, 7.8), trial(4, 0.25, 9.5)]
    assert described(second_looks(search, METRIC, BUDGETS)) == [(0, 1, "look"), (2, 1, "look")]


def test_nothing_is_looked_at_again_where_there_are_no_defaults_to_fall_back_on() -> None:
    assert not second_looks([trial(0, 0.5, None), trial(1, 0.5, 7.0)], METRIC, BUDGETS)


def test_the_better_mean_of_both_seeds_is_chosen() -> None:
    search = [trial(0, 0.5, 8.0), trial(1, 0.25, 9.0), trial(2, 0.5, 7.5), trial(3, 0.5, 7.8)]
    lucky = [trial(0, 0.5, 8.0, seed=1, role="look"), trial(2, 0.5, 9.0, seed=1, role="look")]
    assert [one.number for one in chosen_trials([*search, *lucky], METRIC, BUDGETS)] == [0, 1]
    better = [trial(0, 0.5, 8.0, seed=1, role="look"), trial(2, 0.5, 8.4, seed=1, role="look")]
    assert [one.number for one in chosen_trials([*search, *better], METRIC, BUDGETS)] == [1, 2]


def test_settings_that_fail_with_the_other_seed_are_not_chosen() -> None:
    search = [trial(0, 0.5, 8.0), trial(1, 0.5, 7.5)]
    looks = [trial(0, 0.5, 9.9, seed=1, role="look"), trial(1, 0.5, None, seed=1, role="look")]
    assert [one.number for one in chosen_trials([*search, *looks], METRIC, BUDGETS)] == [0]


def test_a_look_at_what_is_chosen_is_its_repeat() -> None:
    search = [trial(0, 0.5, 8.0), trial(1, 0.5, 7.5)]
    looks = [trial(0, 0.5, 8.0, seed=1, role="look"), trial(1, 0.5, 7.5, seed=1, role="look")]
    chosen = chosen_trials([*search, *looks], METRIC, BUDGETS)
    assert described(repeats(chosen, [*search, *looks], seeds=4)) == [(1, 2, "repeat"), (1, 3, "repeat")]
    assert described(looks) == [(0, 1, "look"), (1, 1, "repeat")]
