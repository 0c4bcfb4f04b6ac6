"""Comparisons that several tests of the report read, and what a terminal shows of one."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.plugins.metrics import equal_error_rate
from bench.plugins.task import ItemScores
from bench.report.answer import result_sections
from bench.report.data import ReportData, report_data
from bench.report.document import render_terminal
from bench.results.points import load_points
from tests.written import Written

ODD = "noise<b>&$x$|+quantization"  # what a plugin may be called
LABELS = np.arange(90) % 3 == 0
STEPS = [[0.125, 40.0], [0.25, 20.0], [0.4, 15.0], [0.5, 10.0], [1.0, 4.0]]


def read(folder: Path) -> ReportData:
    """What a report of the comparison there is made from."""
    return report_data(load_points(folder))


def terminal(folder: Path, width: int = 400) -> str:
    """What a terminal shows when the comparison there has ended."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(result_sections(read(folder), width)), highlight=False)
    return console.export_text()


def write_full(written: Written) -> Path:
    """Two seeds, a failed and a missed point, odd names, zeros, an interrupted timing."""
    for seed in (0, 1):
        written.add("feature_noise", 0.5, 11.0, 13.0 + seed, seed=seed)
        written.add("feature_noise", 0.25, 13.0, 15.0 - seed, seed=seed, latency=False)
        written.add("magnitude_pruning", 0.5, 12.0, 14.0, seed=seed, stage="post_hoc")
        written.add(ODD, 0.25, 14.0, 16.0 + seed, seed=seed, stage="post_hoc")
        written.add("dense", None, 11.0, 13.0, seed=seed, control=True)
    written.add("uniform_width", 0.25, 17.0, 18.0, control=True)
    written.add("zeros", 0.25, 12.0, 12.5, macs=1.0, effective=0.25)
    missed = {"status": "missed", "reason": "asked for 0.25 of the dense compute, delivered 0.3001"}
    written.add("_late", 0.25, 10.0, 10.0, macs=0.3001, **missed)
    files = written.add("broken", 0.5, 1.0, None, latency=False)
    (files / "trial.json").write_text(
        json.dumps({"status": "failed", "reason": "ValueError: <script>alert(1)</script>"})
    )
    return written.save()


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


def decline(written: Written, method: str, stage: str, reason: str) -> None:
    for budget in (0.5, 0.25):
        files = written.add(method, budget, 1, None, stage=stage, latency=False)
        (files / "trial.json").write_text(json.dumps({"status": "declined", "reason": reason}))
