"""One of three verdicts, from camps that had equally many draws."""

import math
from pathlib import Path

import pytest

from bench.report.verdict import MARGIN, Verdict, Verdicts
from bench.stats.estimates import Estimate
from tests.report.cases import read
from tests.written import Written

NOISE = (0.3, -0.2, 0.1, -0.3, 0.2, -0.1)  # of six seeds, none in sum


def add(written: Written, method: str, score: float, *, stage: str = "in_training", seeds: int = 6) -> None:
    for seed in range(seeds):
        control = method in ("dense", "uniform_width")
        budget = None if method == "dense" else 0.5
        written.add(method, budget, score, score + NOISE[seed], seed=seed, stage=stage, control=control)


def verdicts(written: Written) -> Verdicts:
    written.index["budgets"] = [0.5]
    return read(written.save()).verdicts


def test_a_clear_difference_is_found_by_six_seeds(written: Written) -> None:
    add(written, "feature_noise", 10)
    add(written, "magnitude_pruning", 12, stage="post_hoc")
    found = verdicts(written)
    assert found.overall is not None
    assert found.overall.winner == "in-training" and found.overall.p == 2 / 2**6
    assert found.overall.gap.value == pytest.approx(2) and found.contenders == {"in-training": 1, "post-hoc": 1}


def test_fewer_seeds_than_a_test_needs_decide_nothing(written: Written) -> None:
    add(written, "feature_noise", 10, seeds=5)
    add(written, "magnitude_pruning", 12, stage="post_hoc", seeds=5)
    (found,) = verdicts(written).budgets
    assert (found.winner, found.p, found.seeds_to_decide) == (None, None, 6)


def test_a_difference_that_changes_sides_is_undecided(written: Written) -> None:
    add(written, "feature_noise", 10)
    for seed in range(6):
        written.add("magnitude_pruning", 0.5, 10, 10 + (-1) ** seed, seed=seed, stage="post_hoc")
    overall = verdicts(written).overall
    assert overall is not None and overall.winner is None
    assert overall.p is not None and overall.p > 0.05


def test_a_larger_camp_gains_nothing_by_its_size(written: Written) -> None:
    """Of three methods one is drawn at a time: 8, 10 and 12 are as good as 10 on average."""
    for method, score in (("feature_noise", 8), ("stochastic_gates", 10), ("budgeted_broadcast", 12)):
        add(written, method, score)
    add(written, "magnitude_pruning", 10, stage="post_hoc")
    found = verdicts(written)
    assert found.overall is not None and found.overall.gap.value == pytest.approx(0)
    assert found.contenders == {"in-training": 3, "post-hoc": 1}


def test_pairs_of_a_larger_camp_are_drawn_in_every_way(written: Written) -> None:
    """Of (8, 10, 12) the better of two is 8 twice out of three times, and 10 once."""
    for method, score in (("feature_noise", 8), ("stochastic_gates", 10), ("budgeted_broadcast", 12)):
        add(written, method, score)
    add(written, "magnitude_pruning", 11, stage="post_hoc")
    add(written, "quantization", 13, stage="post_hoc")
    overall = verdicts(written).overall
    assert overall is not None and overall.gap.value == pytest.approx(11 - (8 + 8 + 10) / 3)


@pytest.mark.parametrize(("score", "low", "high"), [(10.0, -1.0, MARGIN), (14.0, MARGIN, 9.0)])
def test_each_camp_is_held_against_dense(written: Written, score: float, low: float, high: float) -> None:
    add(written, "dense", 10)
    add(written, "feature_noise", score)
    add(written, "magnitude_pruning", 12, stage="post_hoc")
    worse = verdicts(written).dense["in-training", 0.5]
    assert worse.low is not None and worse.high is not None
    assert low <= worse.low <= worse.value <= worse.high <= high and worse.value == pytest.approx(score - 10)


def test_without_a_seed_that_both_have_there_is_no_verdict(tmp_path: Path) -> None:
    written = Written(tmp_path / "antispoof" / "quick")
    written.add("feature_noise", 0.5, 10, 10, seed=0)
    written.add("magnitude_pruning", 0.5, 10, 10, seed=1, stage="post_hoc")
    assert verdicts(written).overall is None


@pytest.mark.parametrize(
    ("gap", "spread", "seeds"),
    [
        (1.0, 1.0, 8),  # (2.8 x 1 / 1) ** 2 = 7.84
        (1.0, 0.1, 7),  # fewer would do, but six were not enough
        (0.5, 2.0, 126),  # (2.8 x 4) ** 2 = 125.4
        (0.01, 1.0, None),
        (0.0, 1.0, None),
        (1.0, math.inf, None),
    ],
)
def test_how_many_seeds_would_decide(gap: float, spread: float, seeds: int | None) -> None:
    assert Verdict(None, Estimate(gap, None, None, 6), 0.5, spread).seeds_to_decide == seeds
