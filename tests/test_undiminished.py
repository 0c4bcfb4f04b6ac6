"""How small a method gets without loss."""

import math
from pathlib import Path

import pytest

from bench.report import write_report
from bench.report.undiminished import undiminished_rows
from bench.results.points import load_points
from tests.written import Written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = Written(tmp_path / "results" / "antispoof" / "quick")
    for seed in (0, 1):
        written.add("dense", None, 10, 12.0, seed=seed, control=True)
        written.add("feature_noise", 0.5, 9, 11.0 + 2 * seed, seed=seed)  # the mean is 12.0 on eval: no worse
        written.add("feature_noise", 0.25, 9, 12.1, seed=seed)
    written.add("magnitude_pruning", 0.5, 11, 15.0, stage="post_hoc")
    return written.save()


def test_means_over_seeds_are_compared_with_the_dense_models(folder: Path) -> None:
    noise, pruning = undiminished_rows(load_points(folder))
    assert (noise.method, pruning.method) == ("feature_noise", "magnitude_pruning")
    assert (noise.dev, noise.evals.value, pruning.evals.value) == (0.25, 0.5, math.inf)
    assert (noise.evals.n, noise.evals.over) == (2, "seeds")
    assert noise.evals.low is not None and noise.evals.low <= 0.5 <= noise.evals.high  # type: ignore[operator]


def test_the_report_says_how_small_each_gets(folder: Path) -> None:
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "How small without loss" in page
    lines = (folder / "report.md").read_text().splitlines()
    assert any(
        line.startswith("| feature\\_noise | in-training") or "feature_noise | in-training" in line for line in lines
    )
    assert "Smallest compute at which the score is no worse" in "\n".join(lines)
