"""What is computed once for a report, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.best import BestRow, best_rows
from bench.report.chance import chance_table
from bench.report.covered import hypervolumes
from bench.report.draws import draw_items
from bench.report.undiminished import UndiminishedRow, undiminished_rows
from bench.results.points import Points


@dataclass(frozen=True)
class Findings:
    """Results that rest on draws of seeds and items.

    Attributes:
        best: what camps and methods reach within each budget.
        undiminished: how small methods get without loss.
        hypervolumes: how much of the box camps and methods cover.
        chance: whether differences are more than chance.
        without_items: chosen models without usable scores of single items, where others have them.
    """

    best: list[BestRow]
    undiminished: list[UndiminishedRow]
    hypervolumes: pd.DataFrame
    chance: pd.DataFrame
    without_items: int


def find(points: Points) -> Findings:
    """Draw the items of all chosen models once, and use the draws throughout."""
    draws = draw_items(points)
    return Findings(
        best_rows(points, draws),
        undiminished_rows(points, draws),
        hypervolumes(points, draws),
        chance_table(points),
        draws.without if draws.scores else 0,
    )
