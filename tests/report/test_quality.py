"""Intervals, hypervolumes, fronts and chance, and what counts as worst in them."""

import math
from pathlib import Path

import numpy as np
import pytest

from bench.plugins.task import ItemScores
from bench.report import write_report
from bench.report.figures import BUDGETED, front_figure
from bench.report.quality import RESAMPLES
from bench.stats.items import redraw_scores
from tests.report.cases import LABELS, read, scored, with_items
from tests.written import Written


@pytest.mark.parametrize(("seeds", "over"), [(3, "seeds and items"), (1, "items")])
def test_intervals_are_drawn_over_seeds_and_items(written: Written, seeds: int, over: str) -> None:
    data = read(with_items(written, seeds))
    assert data.items_missing == 0
    best, points = data.best.set_index("method"), data.points
    assert list(best.index)[:2] == ["all in-training methods together", "all post-hoc methods together"]
    half, quarter = best.loc["feature_noise", [0.5, 0.25]]
    means = points.table[points.table["method"] == "feature_noise"].groupby("budget")["eval_eer_percent"].mean()
    assert (half.value, quarter.value) == pytest.approx((means[0.5], means[0.25]))
    assert (half.over, half.n, half.items) == (over, seeds, 90)
    assert half.low < half.value < half.high
    assert math.isinf(best.loc["magnitude_pruning", 0.25].value)
    interval = data.hypervolumes.set_index("method").loc["feature_noise", "interval"]
    assert interval.over == over and interval.low < interval.value < interval.high
    noise = data.undiminished.set_index("method").loc["feature_noise", "evals"]
    assert noise.over == over and noise.items == 90


def test_items_of_one_seed_give_the_interval_of_their_draws(written: Written) -> None:
    data = read(with_items(written, 1))
    half = data.best.set_index("method").loc["magnitude_pruning", 0.5]
    draws = redraw_scores([scored(30, 1.2)["items"]], RESAMPLES)
    # 2.5 % at either end, a little less as there are only 90 items
    assert (half.low, half.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=2)


@pytest.mark.usefixtures("undrawn")
def test_without_usable_items_seeds_alone_are_drawn(written: Written) -> None:
    folder = with_items(written, 2)
    keys = read(folder).points.table.set_index(["method", "budget", "seed"])["key"]
    other = ItemScores(np.ones(90), LABELS, np.arange(90))
    damaged = folder / "trials" / keys["feature_noise", 0.5, 0] / "eval_items.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    written.add("uniform_width", 0.5, 12.0, 13.0, control=True, items=other)  # they make 50 %, not 13 %
    data = write_report(written.save())
    assert data.items_missing == 2
    rows = {row["method"]: row[0.5].over for row in data.best.to_dict("records")}
    assert rows["feature_noise"] == "seeds" and rows["magnitude_pruning"] == "seeds and items"
    assert rows["uniform_width"] == "nothing"
    assert "2 of the chosen models have no usable scores of single items" in (folder / "report.html").read_text()


def test_a_missed_budget_counts_as_worst_everywhere(written: Written) -> None:
    """One seed delivered less than was asked for, the other more: the mean would look as if it were within."""
    late = {"status": "missed", "reason": "asked for 0.25 of the dense compute, delivered 0.2600"}
    for seed in (0, 1):
        written.add("dense", None, 20.0, 20.0, seed=seed, control=True)
        written.add("honest", 0.25, 20.0, 20.0, seed=seed)
        written.add("uniform_width", 0.25, 25.0, 25.0, seed=seed, control=True)
        written.add("late", 0.25, 10.0, 10.0, seed=seed, macs=0.26 if seed else 0.2, **(late if seed else {}))
    data = read(written.save())
    assert data.duels["in_training"].tolist() == ["honest", "honest"]
    best = {row["method"]: [row[budget].value for budget in (0.5, 0.25)] for row in data.best.to_dict("records")}
    assert best["late"] == [math.inf, math.inf] and best["all in-training methods together"] == [20, 20]
    covered = data.hypervolumes.set_index("method")
    assert covered.loc["late", "cost_ratio"] == covered.loc["late", "latency_ratio"] == 0
    assert covered.loc["late", "interval"].high > 0  # a draw may miss the seed that missed
    assert data.undiminished.set_index("method").loc["late", "evals"].value == math.inf
    assert data.chosen.loc[data.chosen["front"], "method"].tolist() == ["honest"]
    tested = data.chance.set_index("first")
    one_seed = 0.4 * 0.8 + (math.log2(0.25 / 0.2) / 5) * 0.8  # at a fifth of the compute and 10 %
    assert tested.loc["late", "advantage"] == pytest.approx(one_seed / 2 - 0.4 * 0.5)
    assert data.bands["late"].worst.costs == () and data.bands["late"].best.scores == (10.0,)
    assert "a seed failed or missed the budget" in str(front_figure(data, BUDGETED["macs"]))


@pytest.mark.usefixtures("undrawn")
def test_a_failed_audit_is_shown_with_its_reason(written: Written) -> None:
    reason = "audit: the file has 300 MACs, the record says 250"
    written.add("feature_noise", 0.5, 10.0, 11.0, status="failed", reason=reason, audit={"passed": False})
    folder = written.save()
    data = write_report(folder)
    assert reason in (folder / "report.html").read_text() and reason in (folder / "report.md").read_text()
    assert [estimate.value for estimate in data.best[0.5]] == [math.inf, math.inf]


@pytest.fixture
def undiminished(written: Written) -> Path:
    for seed in (0, 1):
        written.add("dense", None, 10, 12.0, seed=seed, control=True)
        written.add("feature_noise", 0.5, 9, 11.0 + 2 * seed, seed=seed)  # the mean is 12.0 on eval: no worse
        written.add("feature_noise", 0.25, 9, 12.1, seed=seed)
    written.add("magnitude_pruning", 0.5, 11, 15.0, stage="post_hoc")
    return written.save()


@pytest.mark.usefixtures("undrawn")
def test_means_over_seeds_are_compared_with_the_dense_models(undiminished: Path) -> None:
    noise, pruning = read(undiminished).undiminished.to_dict("records")
    assert (noise["method"], pruning["method"]) == ("feature_noise", "magnitude_pruning")
    evals = noise["evals"]
    assert (noise["dev"], evals.value, pruning["evals"].value) == (0.25, 0.5, math.inf)
    assert (evals.n, evals.over) == (2, "seeds")
    assert evals.low is not None and evals.low <= 0.5 <= evals.high
    write_report(undiminished)
    assert "How small without loss" in (undiminished / "report.html").read_text()
    assert "| feature_noise | in-training | 2 | 25.00 % | 50.00 %" in (undiminished / "report.md").read_text()


def compared(made: Written, seeds: int) -> Path:
    """In-training is better with every seed; the control is in between."""
    for seed in range(seeds):
        made.add("feature_noise", 0.25, 9, 10.0 + seed / 10, seed=seed)
        made.add("magnitude_pruning", 0.25, 9, 20.0 + seed / 10, seed=seed, stage="post_hoc")
        made.add("uniform_width", 0.25, 9, 15.0 + seed / 5, seed=seed, control=True)
    return made.save()


def test_three_seeds_cannot_tell_and_the_table_says_how_many_could(written: Written) -> None:
    table = read(compared(written, 3)).chance.set_index("first")
    camps = table.loc["all in-training methods together"]
    # a box from 1/32 to 1 and from 0 to 50 %: 10 points of EER at a quarter are .2 of .4 of it
    assert camps["advantage"] == pytest.approx(0.4 * 0.2)
    assert camps["probability"] == 1
    assert "too few seeds to tell" in camps["sentence"] and "6 paired seeds" in camps["sentence"]
    assert table.loc["magnitude_pruning", "advantage"] < 0 < table.loc["feature_noise", "advantage"]


def test_enough_seeds_give_a_p_value_that_counts_all_comparisons(written: Written) -> None:
    table = read(compared(written, 8)).chance.set_index("first")
    assert "p = 0.0078" in table.loc["all in-training methods together", "sentence"]  # 2 of 2^8 sign flips
    assert "0.016 after Holm's correction" in table.loc["feature_noise", "sentence"]


def test_a_failed_seed_covers_nothing(written: Written) -> None:
    for seed in range(2):
        written.add("feature_noise", 0.25, 9, 10.0, seed=seed)
        written.add("uniform_width", 0.25, 9, 10.0, seed=seed, control=True)
    written.add("feature_noise", 0.25, 9, None, seed=2, status="failed", macs_ratio=None, latency=False)
    written.add("uniform_width", 0.25, 9, 10.0, seed=2, control=True)
    table = read(written.save()).chance.set_index("first")
    assert table.loc["feature_noise", "advantage"] == pytest.approx(-0.4 * 0.8 / 3)
