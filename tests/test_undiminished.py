"""How small a method gets without loss."""

import math
from pathlib import Path

import pytest

from bench.points import load_points
from bench.report import write_report
from bench.report.undiminished import undiminished_table
from tests.written import Written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = Written(tmp_path / "results" / "antispoof" / "quick")
    written.add("dense", None, 10, 12.0, control=True)
    written.add("feature_noise", 0.5, 9, 11.0, seed=0)  # the mean of both seeds is 12.0 on eval: no worse
    written.add("feature_noise", 0.5, 9, 13.0, seed=1)
    written.add("feature_noise", 0.25, 9, 12.1)
    written.add("magnitude_pruning", 0.5, 11, 15.0, stage="post_hoc")
    return written.save()


def test_means_over_seeds_are_compared_with_the_dense_models(folder: Path) -> None:
    table = undiminished_table(load_points(folder)).set_index("method")
    assert list(table.index) == ["feature_noise", "magnitude_pruning"]
    assert table.loc["feature_noise", "dev"] == pytest.approx(0.25)
    assert table.loc["feature_noise", "eval"] == pytest.approx(0.5)
    assert math.isnan(table.loc["magnitude_pruning", "eval"])


def test_the_report_says_how_small_each_gets(folder: Path) -> None:
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "How small without loss" in page
    lines = (folder / "report.md").read_text().splitlines()
    assert any(
        line.startswith("| feature\\_noise | in-training") or "feature_noise | in-training" in line for line in lines
    )
    assert "Smallest compute at which the score is no worse" in "\n".join(lines)
