"""Budget classes, and the table of the choices."""

import json
from pathlib import Path

from bench.results.points import load_points
from bench.results.selection import budget_class, chosen_points, frozen_choices, tuning_gains
from tests.report.cases import write_full
from tests.written import Written

BUDGETS = (0.5, 0.25, 0.125, 0.0625)


def test_what_asks_for_more_than_any_budget_stands_as_it_is() -> None:
    assert budget_class(1.5, [0.5]) == 1.5


def test_points_are_averaged_over_seeds(tmp_path: Path) -> None:
    table = chosen_points(load_points(write_full(Written(tmp_path / "antispoof" / "quick"))))
    table = table.set_index(["method", "budget"])
    row = table.loc[("feature_noise", 0.5)]
    assert (row["seeds"], row["scored"], row["eval"]) == (2, 2, 13.5)
    assert (row["eval_min"], row["eval_max"], row["valid"], row["kind"]) == (13.0, 14.0, True, "in-training")
    assert table.loc[("broken", 0.5)]["failed"] == 1 and not table.loc[("broken", 0.5)]["valid"]
    assert table.loc[("_late", 0.25)]["missed"] == 1 and table.loc[("zeros", 0.25)]["unstructured"]


def test_for_every_budget_the_best_on_dev_is_chosen() -> None:
    asked = {0: 0.5, 1: 0.25, 2: 0.125, 3: 0.0625, 4: 0.3, 5: 0.5, 6: 0.2, 7: 0.06}
    errors = {0: 5.0, 1: 6.0, 2: 9.0, 3: 12.0, 4: 4.0, 5: 4.5, 6: 5.5, 7: 11.0}
    # up to .5: 0, 4, 5; up to .25: 1, 6; up to .125: 2; up to .0625: 3, 7
    assert frozen_choices(asked, errors, BUDGETS) == [2, 4, 6, 7]


def test_above_the_largest_budget_there_is_one_more_class() -> None:
    assert frozen_choices({0: 0.5, 1: 0.51, 2: 1.0}, {0: 5.0, 1: 4.0, 2: 3.0}, BUDGETS) == [0, 2]
    assert frozen_choices({0: 0.9, 1: 1.0}, {0: 2.0, 1: 3.0}, (1.0,)) == [0]


def test_rounding_does_not_move_a_trial_into_the_next_class() -> None:
    assert frozen_choices({0: 1 - 0.9375, 1: 0.0625 * (1 + 1e-12)}, {0: 5.0, 1: 4.0}, BUDGETS) == [1]
    assert frozen_choices({0: 1 - 0.7, 1: 0.3}, {0: 5.0, 1: 4.0}, (0.3,)) == [1]


def test_a_failed_trial_is_chosen_only_where_all_failed() -> None:
    asked = {0: 0.5, 1: 0.5, 2: 0.25, 3: 0.25}
    assert frozen_choices(asked, {0: None, 1: 40.0, 2: None, 3: None}, BUDGETS) == [1, 2]


def test_equal_errors_are_decided_by_the_number() -> None:
    assert frozen_choices({3: 0.5, 1: 0.5, 2: 0.5}, {1: 2.0, 2: 2.0, 3: 2.0}, BUDGETS) == [1]
    assert frozen_choices({0: 0.5, 1: 0.5}, {0: 0.0, 1: None}, BUDGETS) == [0]


def test_scores_to_maximise_come_as_negative_errors() -> None:
    assert frozen_choices({0: 0.5, 1: 0.5}, {0: -90.0, 1: -80.0}, BUDGETS) == [0]


def test_a_method_that_takes_no_budget_has_one_class() -> None:
    assert frozen_choices({0: None, 1: None, 2: None}, {0: 3.0, 1: 2.0, 2: 4.0}, BUDGETS) == [1]
    assert frozen_choices({0: None}, {0: None}, BUDGETS) == [0]


def test_what_tuning_gained_is_told_of_each_point_that_was_tuned(tmp_path: Path) -> None:
    written = Written(tmp_path / "antispoof" / "quick")
    add = written.add
    add("feature_noise", 0.25, 9.0, 10.0, trial=1)
    add("feature_noise", 0.2, 9.5, None, trial=3, chosen=False)  # within a quarter; the defaults were better
    add("feature_noise", 0.5, 8.0, None, trial=0, chosen=False)
    add("feature_noise", 0.4, 7.5, 9.0, trial=2)
    add("feature_noise", 0.4, 3.0, 9.0, trial=2, seed=1)  # of a repeat, which tunes nothing
    add("quantization", None, 7.0, 8.0, trial=4)
    add("quantization", None, 7.25, None, trial=0, chosen=False)
    add("magnitude_pruning", 0.5, 8.0, 9.0, trial=0)  # alone
    failed = add("stochastic_gates", 0.5, 50.0, None, trial=0, chosen=False) / "trial.json"
    failed.write_text(json.dumps({"status": "failed", "reason": "out of memory"}))
    add("stochastic_gates", 0.5, 8.0, 9.0, trial=2)
    assert sorted(tuning_gains(load_points(written.save()))) == [0.0, 0.25, 0.5]
    written.index["metric"] = {"name": "eer", "unit": "percent", "direction": "maximize"}
    assert min(tuning_gains(load_points(written.save()))) == -0.5
