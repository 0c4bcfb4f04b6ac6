"""What differs beyond noise: scores, costs, and models that should have been the same."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bench.compare.sides import load_sides
from bench.compare.verdicts import Point, changed_costs, repeated_models, seed_difference, verdicts
from bench.plugins.task import Metric
from bench.results.points import load_points
from tests.compare.cases import closing, found, made, rescored, said
from tests.written import Written

EER = Metric("eer", "percent", "minimize")


def test_identical_results_are_the_same(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    text = said(first, second)
    assert "Both were made in the same way." in text and "6 models with the same key agree to the bit" in text
    assert {v.finding for v in found(first, second).values()} == {"same score"}
    assert "No cost differs" in text
    assert closing(first, second) == "No: all 3 points with the same scores and costs."


def test_one_seed_that_changed_under_the_same_key_could_not_be_reproduced(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    rescored(second, 2, 25.5)
    repeated = repeated_models(*load_sides(first, second)).set_index("key")
    assert len(repeated) == 6 and set(repeated["side"]) == {"both"}
    (one,) = repeated[repeated["differing"].astype(bool)].itertuples()
    assert (one.method, one.seed, list(one.differing)) == ("feature_noise", 1, ["eval_eer_percent"])
    assert "1 of 6 models with the same key differ" in said(first, second)
    assert closing(first, second).startswith("Yes: 1 model could not be reproduced; 1 of 3 points with too few seeds")


def test_times_and_memory_are_no_failure_to_reproduce(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    for record in second.glob("trials/*/trial.json"):
        changed = json.loads(record.read_text()) | {"cpu_s": 99.0, "peak_memory_mb": 1.0}
        record.write_text(json.dumps(changed))
    assert not repeated_models(*load_sides(first, second))["differing"].astype(bool).any()


def test_clear_difference_is_found_with_eight_seeds_and_only_there(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 8).save()
    second = made(tmp_path / "b", 8, first_key=100, gain=6, rng=2).save()
    of = found(first, second)
    assert of["feature_noise"].finding == "better" and of["feature_noise"].paired
    assert of["feature_noise"].p == pytest.approx(3 * 2 / 2**8)  # all 8 signs agree; the smallest of three
    assert of["feature_noise"].gain == pytest.approx(6, abs=1.5)
    assert {of[name].finding for name in ("magnitude_pruning", "stochastic_gates")} == {"within noise"}
    assert found(second, first)["feature_noise"].finding == "worse"
    assert "Keys only in A: 24" in said(first, second)
    assert "1 of 3 points scores differently beyond noise (feature_noise at 25 % better by" in closing(first, second)


def test_points_that_are_the_same_to_the_bit_do_not_count_as_comparisons(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a", 8).save(), made(tmp_path / "b", 8).save()
    for key in range(1, 9):  # of feature noise alone
        rescored(second, key, 50.0 + key)
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "worse" and verdict.p == pytest.approx(2 / 2**8)


def test_standard_error_is_of_the_difference_by_seed(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "a" / "x" / "quick"), Written(tmp_path / "b" / "x" / "quick", 100)
    for seed, (one, other) in enumerate([(10, 12), (20, 21), (30, 36)]):
        first.add("dense", None, 1, one, seed=seed)
        second.add("dense", None, 1, other, seed=seed)
    verdict = found(first.save(), second.save())["dense"]
    assert verdict.gain == pytest.approx(-3)
    assert verdict.error == pytest.approx(np.std([2, 1, 6], ddof=1) / 3**0.5)


def test_one_seed_shows_a_large_difference_without_claiming_it(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 1).save()
    second = made(tmp_path / "b", 1, first_key=100, gain=-20, rng=1).save()
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "too few seeds to tell" and math.isnan(verdict.error) and not verdict.large
    assert verdict.gain == pytest.approx(-20, abs=3)
    assert closing(first, second).startswith("The seeds cannot tell: 3 of 3 points with too few seeds")
    assert "the largest difference: feature_noise at 25 % worse by" in closing(first, second)


def test_difference_above_that_of_any_two_seeds_is_called_large_and_nothing_more(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 3).save()
    second = made(tmp_path / "b", 3, first_key=100, gain=-20, rng=1).save()
    of = found(first, second)
    assert of["feature_noise"].large and not of["magnitude_pruning"].large
    assert math.isnan(of["feature_noise"].p)
    assert "too few seeds to tell, but large" in said(first, second)
    assert "needs 7 paired seeds, or 5 + 5" in said(first, second)  # 2 / 2^7 < .05 / 3


def test_five_seeds_are_dealt_anew_as_five_pairs_cannot_tell(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 5).save()
    second = made(tmp_path / "b", 5, first_key=100, gain=30, rng=1).save()
    verdict = found(first, second)["feature_noise"]
    assert not verdict.paired and verdict.finding == "better"
    assert verdict.p == pytest.approx(3 * 2 / 252)  # of 10 over 5 deals


def test_settings_that_one_side_does_not_say_are_no_other_settings(tmp_path: Path) -> None:
    folder = made(tmp_path / "a").save()
    load_points(folder).table.drop(columns="settings").to_csv(tmp_path / "points.csv", index=False)
    assert "other settings" not in said(folder, tmp_path / "points.csv")


def test_dev_stands_in_where_eval_is_missing(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    (second / "trials" / f"{1:016x}" / "eval.json").unlink()
    of = found(first, second)
    assert of["feature_noise"].split == "dev" and of["stochastic_gates"].split == "eval"
    assert "on dev: same score" in said(first, second)


def test_failed_seed_counts_as_worst_and_is_listed(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a", 8).save(), Written(tmp_path / "b" / "antispoof" / "quick", 100)
    for seed in range(8):
        other.add("feature_noise", 0.25, 9, None, seed=seed, status="failed", macs_ratio=None, latency=False)
    second = other.save()
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "worse" and math.isnan(verdict.gain)
    text = said(first, second)
    assert "B failed: feature_noise at 25 %, seeds 0, 1, 2, 3, 4, 5, 6, 7" in text
    assert "Only in A: magnitude_pruning at 25 %, stochastic_gates at 25 %." in text
    assert "2 points only on one side" in closing(first, second)


@pytest.mark.parametrize(
    ("spread", "ratio", "changed"), [(None, 1.02, False), (None, 1.04, True), (0.03, 1.05, False), (0.03, 1.07, True)]
)
def test_latency_changes_beyond_its_spread(spread: float | None, ratio: float, changed: bool, tmp_path: Path) -> None:
    one, other = (pd.DataFrame({"latency_ratio": [ratio], "latency_spread": [spread]}) for ratio in (0.5, 0.5 * ratio))
    changes = changed_costs([Point("dense", math.inf, one, other, same_start=False)])
    assert changes["share"].tolist() == ([pytest.approx(ratio - 1)] if changed else [])


def test_counted_costs_change_by_any_amount(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b", first_key=100)
    other.add("feature_noise", 0.25, 9, 20.0, seed=0, size_bytes=315_268)
    text = said(first, other.save())
    assert "| feature_noise | 25 % | file size | 315 kB | 315 kB | +0.0 % | counted |" in text


def test_scores_where_large_is_good(tmp_path: Path) -> None:
    folders = []
    for name, score in (("a", 60.0), ("b", 70.0)):
        results = Written(tmp_path / name / "x" / "quick", ord(name) * 100)
        results.index["metric"] = {"name": "accuracy", "unit": "percent", "direction": "maximize"}
        for seed in range(8):
            files = results.add("dense", None, 1, score, seed=seed)
            (files / "eval.json").write_text(json.dumps({"accuracy_percent": score + seed}))
        folders.append(results.save())
    verdict = found(*folders)["dense"]
    assert verdict.finding == "better" and verdict.gain == pytest.approx(10)


@pytest.mark.slow  # `tests/stats/test_significance.py` proves it of the tests and of Holm's correction alone
@pytest.mark.parametrize(("seeds", "paired", "of_seed"), [(8, True, 0.9), (5, False, 0.0)])
def test_equal_distributions_are_rarely_called_different(seeds: int, paired: bool, of_seed: float) -> None:
    """The share of tables of three points with any false alarm: below 5 %, which 300 tables know to 1.3 %."""
    rng = np.random.default_rng(5)
    tables = [judged(rng, seeds, of_seed) for _ in range(300)]
    assert all((table["paired"] == paired).all() and table["p"].notna().all() for table in tables)
    assert sum(table["finding"].isin(["better", "worse"]).any() for table in tables) / 300 <= 0.06


def test_clear_effect_is_nearly_always_found() -> None:
    rng = np.random.default_rng(6)
    tables = [judged(rng, 8, 0.5, gain=3.0) for _ in range(50)]
    assert sum(table["finding"][0] == "better" for table in tables) >= 45
    assert sum((table["finding"][1:] != "within noise").sum() for table in tables) <= 5


def judged(rng: np.random.Generator, seeds: int, of_seed: float, gain: float = 0.0) -> pd.DataFrame:
    """Three points, whose scores owe this share of their variance to the seed; B is better at the first of them."""
    points = []
    for number in range(3):
        start = rng.normal(size=seeds) * of_seed**0.5
        first, second = (start + rng.normal(size=seeds) * (1 - of_seed) ** 0.5 for _ in range(2))
        one, other = (scored(side) for side in (first, second - gain * (number == 0)))
        points.append(Point(f"method_{number}", math.inf, one, other, same_start=True))
    return verdicts(points, EER)


def scored(scores: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame({"status": "complete", "eval_eer_percent": 20 + scores})


def test_seed_difference_is_not_known_without_a_second_seed() -> None:
    one = scored(np.zeros(1))
    assert math.isnan(seed_difference(verdicts([Point("dense", math.inf, one, one, same_start=True)], EER)))
