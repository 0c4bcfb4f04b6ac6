"""What the report says about chance."""

from pathlib import Path

import pytest

from bench.report import write_report
from bench.report.answer import answer
from bench.report.chance import chance_table
from bench.results.points import load_points
from tests.written import Written


def written(folder: Path, seeds: int) -> Path:
    """In-training is better with every seed; the control is in between."""
    made = Written(folder / "results" / "antispoof" / "quick")
    for seed in range(seeds):
        made.add("feature_noise", 0.25, 9, 10.0 + seed / 10, seed=seed)
        made.add("magnitude_pruning", 0.25, 9, 20.0 + seed / 10, seed=seed, stage="post_hoc")
        made.add("uniform_width", 0.25, 9, 15.0 + seed / 5, seed=seed, control=True)
    return made.save()


def test_three_seeds_cannot_tell_and_the_table_says_how_many_could(tmp_path: Path) -> None:
    table = chance_table(load_points(written(tmp_path, 3))).set_index("first")
    camps = table.loc["in-training methods together"]
    # a box from 1/32 to 1 and from 0 to 50 %: 10 points of EER at a quarter are .2 of .4 of it
    assert camps["advantage"] == pytest.approx(0.4 * 0.2)
    assert camps["probability"] == 1
    assert "too few seeds to tell" in camps["sentence"] and "6 paired seeds" in camps["sentence"]
    assert table.loc["magnitude_pruning", "advantage"] < 0 < table.loc["feature_noise", "advantage"]


def test_enough_seeds_give_a_p_value_that_counts_all_comparisons(tmp_path: Path) -> None:
    table = chance_table(load_points(written(tmp_path, 8))).set_index("first")
    assert "p = 0.0078" in table.loc["in-training methods together", "sentence"]  # 2 of 2^8 sign flips
    assert "0.016 after Holm's correction" in table.loc["feature_noise", "sentence"]


def test_a_failed_seed_covers_nothing(tmp_path: Path) -> None:
    made = Written(tmp_path / "results" / "antispoof" / "quick")
    for seed in range(2):
        made.add("feature_noise", 0.25, 9, 10.0, seed=seed)
        made.add("uniform_width", 0.25, 9, 10.0, seed=seed, control=True)
    made.add("feature_noise", 0.25, 9, None, seed=2, status="failed", macs_ratio=None, latency=False)
    made.add("uniform_width", 0.25, 9, 10.0, seed=2, control=True)
    table = chance_table(load_points(made.save())).set_index("first")
    assert table.loc["feature_noise", "advantage"] == pytest.approx(-0.4 * 0.8 / 3)


def test_report_and_markdown_show_it(tmp_path: Path) -> None:
    folder = written(tmp_path, 3)
    write_report(folder)
    assert "More than chance?" in (folder / "report.html").read_text()
    assert "too few seeds to tell" in (folder / "report.md").read_text()


def test_next_to_nothing_is_no_verdict(tmp_path: Path) -> None:
    made = Written(tmp_path / "results" / "synthetic" / "quick")
    made.add("feature_noise", 0.25, 9, 36.79)
    made.add("magnitude_pruning", 0.25, 9, 36.80, stage="post_hoc")
    assert answer(load_points(made.save())).startswith("Hardly a difference: at each of the")
