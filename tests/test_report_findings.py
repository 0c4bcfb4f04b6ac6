"""What the report draws over seeds and items, what counts as worst, and what training and speed are said to cost."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.plugins.metrics import equal_error_rate
from bench.plugins.task import ItemScores
from bench.report import write_report
from bench.report.answer import budget_duels
from bench.report.best import best_rows, how_drawn
from bench.report.chance import chance_table
from bench.report.covered import hypervolumes, on_front
from bench.report.draws import RESAMPLES, draw_items
from bench.report.figures import AXES, front_figure
from bench.report.links import links
from bench.report.speedup import speedup_table
from bench.report.surfaces import attainment_figure, bands
from bench.report.training import training_table
from bench.report.undiminished import undiminished_rows
from bench.results.points import load_points
from tests.written import Written

LABELS = np.arange(90) % 3 == 0


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "results" / "antispoof" / "quick")


def scored(seed: int, skill: float) -> dict[str, Any]:
    """Item scores of a model, and the eval score that they make."""
    scores = np.random.default_rng(seed).normal(size=90) + skill * LABELS
    return {"items": ItemScores(scores, LABELS, np.arange(90)), "evals": equal_error_rate(scores, LABELS)}


def with_items(written: Written, seeds: int) -> Path:
    for seed in range(seeds):
        written.add("dense", None, 10.0, seed=seed, control=True, **scored(seed, 2.0))
        written.add("feature_noise", 0.5, 11.0, seed=seed, **scored(10 + seed, 1.5))
        written.add("feature_noise", 0.25, 12.0, seed=seed, **scored(20 + seed, 1.0))
        written.add("magnitude_pruning", 0.5, 12.0, seed=seed, stage="post_hoc", **scored(30 + seed, 1.2))
    return written.save()


# intervals


@pytest.mark.parametrize(("seeds", "over"), [(3, "seeds and items"), (1, "items")])
def test_intervals_are_drawn_over_seeds_and_items(written: Written, seeds: int, over: str) -> None:
    points = load_points(with_items(written, seeds))
    draws = draw_items(points)
    assert (len(draws.scores), draws.count, draws.without) == (4 * seeds, 90, 0)
    rows = {row.name: row.estimates for row in best_rows(points, draws)}
    assert list(rows)[:2] == ["all in-training methods together", "all post-hoc methods together"]
    half, quarter = rows["feature_noise"]
    means = points.table[points.table["method"] == "feature_noise"].groupby("budget")["eval_eer_percent"].mean()
    assert (half.value, quarter.value) == pytest.approx((means[0.5], means[0.25]))
    assert (half.over, half.n, half.items) == (over, seeds, 90)
    assert half.low < half.value < half.high  # type: ignore[operator]
    assert math.isinf(rows["magnitude_pruning"][1].value)
    interval = hypervolumes(points, draws).set_index("method").loc["feature_noise", "interval"]
    assert interval.over == over and interval.low < interval.value < interval.high
    (noise, _) = undiminished_rows(points, draws)
    assert noise.evals.over == over and noise.evals.items == 90


def test_items_of_one_seed_give_the_interval_of_their_draws(written: Written) -> None:
    points = load_points(with_items(written, 1))
    draws = draw_items(points)
    half = next(row for row in best_rows(points, draws) if row.name == "magnitude_pruning").estimates[0]
    key = points.table.set_index("method").loc["magnitude_pruning", "key"]
    # 2.5 % at either end, a little less as there are only 90 items
    assert (half.low, half.high) == pytest.approx(np.quantile(draws.scores[str(key)], [0.025, 0.975]), abs=2)
    assert len(draws.scores[str(key)]) == RESAMPLES


def test_without_usable_items_seeds_alone_are_drawn(written: Written) -> None:
    folder = with_items(written, 2)
    points = load_points(folder)
    keys = points.table.set_index(["method", "budget", "seed"])["key"]
    other = ItemScores(np.ones(90), LABELS, np.arange(90))
    damaged = folder / "trials" / keys["feature_noise", 0.5, 0] / "eval_items.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    written.add("uniform_width", 0.5, 12.0, 13.0, control=True, items=other)  # they make 50 %, not 13 %
    points = load_points(written.save())
    draws = draw_items(points)
    assert draws.without == 2
    rows = {row.name: row.estimates[0].over for row in best_rows(points, draws)}
    assert rows["feature_noise"] == "seeds" and rows["magnitude_pruning"] == "seeds and items"
    assert rows["uniform_width"] == "nothing"
    write_report(folder)
    assert "2 of the chosen models have no usable scores of single items" in (folder / "report.html").read_text()


def test_the_page_says_what_is_drawn_and_that_seeds_are_too_few(written: Written) -> None:
    write_report(with_items(written, 3))
    page, text = ((written.folder / name).read_text() for name in ("report.html", "report.md"))
    for said in ("over 3 seeds and 90 evaluation items", "Too few seeds to tell small differences", 'id="best"'):
        assert said in page
    assert "over 3 seeds and 90 evaluation items" in text and "| seeds and items |" in text
    points = load_points(written.folder)
    one = best_rows(points, draw_items(points))[0].estimates[0]
    assert "75 % of cases" in how_drawn([one])


def test_a_report_with_items_is_the_same_to_the_byte(written: Written) -> None:
    folder = with_items(written, 2)
    pages = []
    for _ in range(2):
        write_report(folder)
        pages.append((folder / "report.html").read_bytes())
    assert pages[0] == pages[1]


# what counts as worst


def test_a_missed_budget_counts_as_worst_everywhere(written: Written) -> None:
    """One seed delivered less than was asked for, the other more: the mean would look as if it were within."""
    late = {"status": "missed", "reason": "asked for 0.25 of the dense compute, delivered 0.2600"}
    for seed in (0, 1):
        written.add("dense", None, 20.0, 20.0, seed=seed, control=True)
        written.add("honest", 0.25, 20.0, 20.0, seed=seed)
        written.add("uniform_width", 0.25, 25.0, 25.0, seed=seed, control=True)
        written.add("late", 0.25, 10.0, 10.0, seed=seed, macs=0.26 if seed else 0.2, **(late if seed else {}))
    points = load_points(written.save())
    assert budget_duels(points)["in_training"].tolist() == ["honest", "honest"]
    best = {row.name: [estimate.value for estimate in row.estimates] for row in best_rows(points, draw_items(points))}
    assert best["late"] == [math.inf, math.inf] and best["all in-training methods together"] == [20, 20]
    covered = hypervolumes(points).set_index("method")
    assert covered.loc["late", "macs_ratio"] == covered.loc["late", "latency_ratio"] == 0
    assert covered.loc["late", "interval"].high > 0  # a draw may miss the seed that missed
    assert {row.method: row.evals.value for row in undiminished_rows(points)}["late"] == math.inf
    assert not on_front(points)[on_front(points).index[-1]] and on_front(points).sum() == 1
    tested = chance_table(points).set_index("first")
    one_seed = 0.4 * 0.8 + (math.log2(0.25 / 0.2) / 5) * 0.8  # at a fifth of the compute and 10 %
    assert tested.loc["late", "advantage"] == pytest.approx(one_seed / 2 - 0.4 * 0.5)
    assert bands(points)["late"].worst.costs == () and bands(points)["late"].best.scores == (10.0,)
    assert "a seed failed or missed the budget" in str(front_figure(points, AXES[0]))


def test_a_failed_audit_is_shown_with_its_reason(written: Written) -> None:
    reason = "audit: the file has 300 MACs, the record says 250"
    written.add("feature_noise", 0.5, 10.0, 11.0, status="failed", reason=reason, audit={"passed": False})
    folder = written.save()
    points = write_report(folder)
    assert reason in (folder / "report.html").read_text() and reason in (folder / "report.md").read_text()
    assert [row.estimates[0].value for row in best_rows(points, draw_items(points))] == [math.inf, math.inf]


# attainment


def test_bands_stand_in_the_front_until_there_are_too_many_methods(written: Written) -> None:
    for number in range(7):
        for seed in range(2):
            written.add(f"method_{number}", 0.5, 12.0, 12.0 + number + seed, seed=seed)
        points = load_points(written.save())
        assert (attainment_figure(points) is not None) == (number == 6)
    band = bands(points)["method_0"]
    assert (band.best.scores, band.median.scores, band.worst.scores) == ((12.0,), (12.0,), (13.0,))
    write_report(written.folder)
    assert 'id="attainment"' in (written.folder / "report.html").read_text()


# speed, training, links


def test_speed_ups_by_hand(written: Written) -> None:
    files = written.add("zeros", 0.25, 12.0, 13.0, macs=1.0, effective=0.25)
    latency = {"latency_ms": 0.1, "latency_ratio": 0.8, "latency_chunk_ratio": 0.5, "latency_spread": 0.004}
    (files / "latency.json").write_text(json.dumps(latency))
    points = load_points(written.save())
    (row,) = speedup_table(points).to_dict("records")
    found = [row[name] for name in ("executed", "theoretical", "latency_ratio", "latency_chunk_ratio", "realised")]
    assert found == pytest.approx([1, 4, 1.25, 2, 1.25 / 4])
    assert "latency_utterance_ratio" not in row
    write_report(written.folder)
    page = (written.folder / "report.html").read_text()
    assert "on a streaming chunk" in page and "on a whole utterance" not in page and "0.4 %" in page


def test_three_ledgers_of_training_by_hand(written: Written) -> None:
    start = {"start_train_macs": 600.0, "start_cpu_s": 30.0}
    for seed in (0, 1):
        own = {"train_steps": 175, "total_steps": 700, "train_macs": 100.0, "train_cpu_s": 5.0}
        written.add("pruning", 0.5, 1.0, 2.0, seed=seed, stage="post_hoc", **own, **start)
        own = {"train_steps": 700, "total_steps": 700, "train_macs": 700.0, "train_cpu_s": 40.0}
        written.add("noise", 0.5, 1.0, 2.0, seed=seed, **own)
    own = {"train_steps": 175, "total_steps": 700, "train_macs": 200.0, "train_cpu_s": 7.0}
    written.add("pruning", 0.25, 3.0, None, stage="post_hoc", chosen=False, trial=9, **own, **start)
    points = load_points(written.save())
    table = training_table(points).set_index("method")
    assert table.loc["pruning", "models"] == 3
    expected = {"scratch_steps": 700, "given_steps": 175, "tuning_steps": 3 * 175 + 2 * 525}
    if "train_macs" in points.table:
        expected |= {"scratch_macs": 700, "given_macs": 100, "tuning_macs": 400 + 2 * 600}
        expected |= {"scratch_cpu_s": 35, "given_cpu_s": 5, "tuning_cpu_s": 17 + 2 * 30}
        assert table.loc["noise", ["scratch_macs", "given_macs", "tuning_macs"]].tolist() == [700, 700, 1400]
    assert {name: table.loc["pruning", name] for name in expected} == expected


def test_results_of_older_runs_have_no_costs_but_steps(written: Written) -> None:
    written.add("pruning", 0.5, 1.0, 2.0, stage="post_hoc")
    table = training_table(load_points(written.save())).set_index("method")
    assert table.loc["pruning", "scratch_steps"] == 700
    assert table.loc["pruning", ["scratch_macs", "given_cpu_s", "tuning_macs"]].isna().all()


def test_points_lead_to_their_files_and_to_their_run(written: Written) -> None:
    files = written.add("feature_noise", 0.5, 10.0, 11.0)
    (files / "model.onnx").write_bytes(b"")
    (files / "tracked.json").write_text(json.dumps({"run_id": "abc", "experiment_id": "7"}))
    other = written.add("feature_noise", 0.25, 10.0, 11.0)
    folder = written.save()
    points = write_report(folder)
    found = links(points, [files.name, other.name])
    page = "http://127.0.0.1:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    assert found[files.name].run == page and found[other.name].run is None
    assert [name for name, _ in found[files.name].files] == ["record", "model", "scores"]
    text = (folder / "report.html").read_text()
    for _, address in found[files.name].files:
        assert (folder / address).exists() and f'href="{address}"' in text
    assert f'href="{page}"' in text


def test_a_page_of_thousands_lists_the_chosen_and_the_best(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.html.MOST_LISTED", 4)
    chosen = written.add("feature_noise", 0.5, 30.0, 31.0)
    tried = [written.add("feature_noise", 0.5, 40.0 - n, None, chosen=False, trial=100 + n) for n in range(5)]
    page = (write_report(written.save()).folder / "report.html").read_text()
    assert "4 of 6 trained models" in page and 'href="points.csv"' in page
    listed = {folder.name for folder in (chosen, *tried) if f'href="trials/{folder.name}/"' in page}
    assert listed == {folder.name for folder in (chosen, *tried[2:])}
