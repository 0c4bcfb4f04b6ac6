"""The distance from the best possible, methods that do not apply, and what methods note beside their results."""

import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench.report import write_report
from bench.report.answer import answer
from bench.report.chosen import chosen_points
from bench.report.covered import hypervolumes
from bench.report.excess import excess_table
from bench.report.reading import troubles
from bench.report.table import result_table
from bench.results.points import load_points
from tests.written import Written

STEPS = [[0.125, 40.0], [0.25, 20.0], [0.4, 15.0], [0.5, 10.0], [1.0, 4.0]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "results" / "synthetic" / "quick")


def known_optimum(written: Written) -> Path:
    """Two seeds that delivered different compute, a post-hoc method, a control without a budget."""
    written.index["best_possible"] = STEPS
    written.add("feature_noise", 0.5, 9, 11.0, seed=0)  # 10 % above
    written.add("feature_noise", 0.5, 9, 16.5, seed=1, macs=0.4)  # 10 %
    written.add("feature_noise", 0.25, 9, 26.0, seed=0)  # 30 %
    written.add("magnitude_pruning", 0.5, 9, 20.0, stage="post_hoc")  # 100 %
    written.add("dense", None, 5, 5.0, control=True)  # 25 %
    written.add("broken", 0.5, 1, None, latency=False, status="failed", macs_ratio=None)
    return written.save()


def terminal(folder: Path) -> str:
    console = Console(width=400, file=io.StringIO(), record=True)
    console.print(result_table(load_points(folder), 400))
    return console.export_text()


def test_excess_is_that_at_the_compute_of_each_model(written: Written) -> None:
    table = excess_table(load_points(known_optimum(written))).set_index("method")
    assert list(table.index) == ["feature_noise", "magnitude_pruning", "dense"]
    assert table.loc["feature_noise", 0.5] == pytest.approx(10)  # at the mean compute of both seeds it would be 37.5
    assert table.loc["feature_noise", 0.25] == pytest.approx(30)
    assert table.loc["feature_noise", "mean"] == pytest.approx(50 / 3)
    assert table.loc["feature_noise", "worst"] == pytest.approx(30)
    assert table.loc["magnitude_pruning", 0.5] == pytest.approx(100)
    assert math.isnan(table.loc["dense", 0.5]) and table.loc["dense", "mean"] == pytest.approx(25)


def test_a_score_that_should_be_large_falls_short(written: Written) -> None:
    written.index |= {"metric": {"name": "eer", "unit": "percent", "direction": "maximize"}, "best_possible": STEPS}
    written.add("feature_noise", 0.5, 9, 9.0)
    assert excess_table(load_points(written.save()))["mean"].tolist() == pytest.approx([10])


def test_a_perfect_optimum_has_no_relative_excess(written: Written) -> None:
    written.index["best_possible"] = [[0.5, 0.0]]
    written.add("feature_noise", 0.5, 9, 9.0)
    assert excess_table(load_points(written.save())).empty
    write_report(written.folder)


def test_a_search_between_budgets_counts_for_the_next_larger_one(written: Written) -> None:
    written.index["best_possible"] = [*STEPS, [0.3, 19.0]]
    written.add("feature_noise", 0.3, 9, 38.0)
    table = excess_table(load_points(written.save()))
    assert table[0.5].tolist() == pytest.approx([100]) and table[0.25].isna().all()


def test_every_output_shows_the_optimum(written: Written) -> None:
    folder = known_optimum(written)
    points = write_report(folder)
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert 'id="excess"' in page and "best possible</text>" in (folder / "front.svg").read_text()
    assert page.count("best possible</text>") == 1  # theory says nothing of latency and bytes
    assert "| feature_noise | in-training | 16.7 % | 30.0 % | 10.0 % | 30.0 % |" in text
    assert "feature_noise 16.7 % (30.0 %), dense 25.0 % (25.0 %), magnitude_pruning 100 %" in terminal(folder)
    assert points.table["best_possible"].tolist()[:3] == [10.0, 15.0, 20.0]
    last = hypervolumes(points).iloc[-1]
    assert last["method"] == "best possible" and last["macs_ratio"] > hypervolumes(points)["macs_ratio"][:-1].max()


def test_without_theory_nothing_of_it_is_shown(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    folder = written.save()
    points = write_report(folder)
    everything = (folder / "report.html").read_text() + (folder / "report.md").read_text() + terminal(folder)
    assert "best possible" not in everything and points.table["best_possible"].isna().all()


def decline(written: Written, method: str, stage: str, reason: str) -> None:
    for budget in (0.5, 0.25):
        files = written.add(method, budget, 1, None, stage=stage, latency=False)
        (files / "trial.json").write_text(json.dumps({"status": "declined", "reason": reason}))


def test_a_method_that_declines_is_said_and_is_no_failure(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    written.add("magnitude_pruning", 0.5, 9, 12.0, stage="post_hoc")
    decline(written, "quantization", "post_hoc", "no integer kernel for <gru>")
    folder = written.save()
    points = write_report(folder)
    page, text, shown = (folder / "report.html").read_text(), (folder / "report.md").read_text(), terminal(folder)
    assert "quantization" not in set(chosen_points(points)["method"]) and troubles(points).empty
    assert re.search(r"<dt>quantization</dt><dd>no integer kernel for &lt;gru&gt;</dd>", page)
    assert text.count("- quantization: no integer kernel for &lt;gru&gt;") == 1
    assert shown.count("does not apply  quantization: no integer kernel for <gru>") == 1
    assert "interrupted" not in page and 'class="bad"' not in page
    assert (points.table["status"] == "declined").sum() == 2
    assert "declined" in (folder / "points.csv").read_text()


def test_a_camp_that_declines_leaves_no_answer(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    decline(written, "quantization", "post_hoc", "not here")
    decline(written, "stochastic_gates", "in_training", "nor this")
    said = answer(write_report(written.save()))
    assert said == "No answer: every post-hoc method that took part declined this task (quantization)."


def test_a_comparison_in_which_all_decline_has_a_report(written: Written) -> None:
    decline(written, "quantization", "post_hoc", "not here")
    write_report(written.save())
    assert "not here" in terminal(written.folder)


def test_notes_are_shown_once_a_method(written: Written) -> None:
    for budget in (0.5, 0.25):
        notes = ["the hidden state of gru keeps its width: <noise> would enter the recurrence", f"at {budget}"]
        written.add("feature_noise", budget, 9, 11.0, notes=notes)
    folder = written.save()
    points = write_report(folder)
    assert points.notes == {"feature_noise": [notes[0], "at 0.5", "at 0.25"]}
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert page.count("keeps its width: &lt;noise&gt;") == text.count("keeps its width: &lt;noise&gt;") == 1
    assert terminal(folder).count("note  feature_noise: the hidden state of gru keeps its width: <noise>") == 1
