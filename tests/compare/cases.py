"""Pairs of result sets, and what is found and said of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.sections import comparison_sections
from bench.compare.sides import load_sides
from bench.compare.verdicts import match_points, verdicts
from bench.report.document import Text, render_markdown
from bench.results.points import load_points
from tests.written import Written

METHODS = {"feature_noise": "in_training", "magnitude_pruning": "post_hoc", "stochastic_gates": "in_training"}


def made(folder: Path, seeds: int = 2, *, first_key: int = 1, gain: float = 0.0, rng: int = 0) -> Written:
    """Three methods at a quarter of the compute; feature noise is better by ``gain`` than it would be."""
    draw = np.random.default_rng(rng)
    results = Written(folder / "antispoof" / "quick", first_key)
    for method, stage in METHODS.items():
        for seed in range(seeds):
            score = 20 + 3 * seed + draw.normal() - (gain if method == "feature_noise" else 0)
            results.add(method, 0.25, score - 1, score, seed=seed, stage=stage)
    return results


def found(first: Path, second: Path) -> dict[str, Any]:
    """The verdicts, by method."""
    one, other = load_sides(first, second)
    judged = verdicts(match_points(one, other).both, one.metric)
    return {str(row.method): row for row in judged.itertuples()}


def said(first: Path, second: Path) -> str:
    """The whole comparison as Markdown, less what escapes it."""
    return render_markdown(comparison_sections(*load_sides(first, second))).replace("\\", "")


def closing(first: Path, second: Path) -> str:
    """The sentence at the end."""
    piece = comparison_sections(*load_sides(first, second))[-1].pieces[0]
    assert isinstance(piece, Text) and isinstance(piece.words, str)
    return piece.words


def rescored(folder: Path, key: int, score: float) -> None:
    (folder / "trials" / f"{key:016x}" / "eval.json").write_text(json.dumps({"eer_percent": score}))


def as_csv(folder: Path, path: Path) -> Path:
    load_points(folder).table.to_csv(path, index=False)
    return path
