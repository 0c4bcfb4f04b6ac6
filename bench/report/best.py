"""The best score of every camp and method within each budget, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.chosen import chosen_points, stage_name
from bench.report.draws import ItemDraws
from bench.report.grid import Grid, grid_of
from bench.report.numbers import percent
from bench.results.points import Points
from bench.stats.estimates import CONFIDENCE, Estimate, best_within, sign_of
from bench.stats.significance import TOO_FEW, seeds_needed

CAMP = "all {} methods together"


@dataclass(frozen=True)
class BestRow:
    """What a camp or a method reaches.

    Attributes:
        name: of the method, or of the camp.
        stage: in-training, post-hoc or control.
        camp: whether it is a camp.
        estimates: one for each budget, in the order of the comparison's.
    """

    name: str
    stage: str
    camp: bool
    estimates: list[Estimate]


def best_rows(points: Points, draws: ItemDraws) -> list[BestRow]:
    """Camps first, then methods: the best mean eval score among the points within each budget, chosen on dev.

    Failures and missed budgets count as worst: a point one of whose seeds has either is no candidate. What has no
    finished run is left out, and so is the dense model, which no budget below 1 admits.
    """
    stages = method_stages(points)
    groups = [(CAMP.format(camp), camp, True, _members(stages, camp)) for camp in ("in-training", "post-hoc")]
    groups += [(method, stage, False, [method]) for method, stage in stages.items() if method != "dense"]
    rows = []
    for name, stage, camp, members in groups:
        if (grid := grid_of(points, members, draws)) is not None:
            rows.append(BestRow(name, stage, camp, _estimates(points, grid)))
    return rows


def method_stages(points: Points) -> dict[str, str]:
    """In-training, post-hoc or control, by name of the methods that have points, in the order of the report."""
    table: pd.DataFrame = chosen_points(points).drop_duplicates("method")
    return {str(row["method"]): stage_name(row) for row in table.to_dict("records")}


def how_drawn(estimates: list[Estimate]) -> str:
    """What the intervals are drawn over and what that is worth, in a sentence or two."""
    drawn = [estimate for estimate in estimates if estimate.over != "nothing"]
    if not drawn:
        return f"There are no intervals: one seed, and no scores of single items, are {TOO_FEW}."
    over = sorted({_over(estimate) for estimate in drawn})
    said = f"Brackets hold {percent(CONFIDENCE)} bootstrap intervals over {'; or over '.join(over)}."
    seeds = min(estimate.n for estimate in estimates)
    if seeds == 1:
        return f"{said} What another seed would change is not in them: 1 seed is {TOO_FEW.removesuffix(' to tell')}."
    if seeds < seeds_needed(paired=True):
        held = percent(round(1 - 2 / 2**seeds, 3))
        said += f" {TOO_FEW.capitalize()} small differences: the range of {seeds} seeds holds the true mean in at most"
        said += f" {held} of cases."
    return said


def _over(estimate: Estimate) -> str:
    seeds = f"{estimate.n} seeds" if "seeds" in estimate.over else ""
    items = f"{estimate.items:,} evaluation items" if "items" in estimate.over else ""
    return " and ".join(part for part in (seeds, items) if part)


def _members(stages: dict[str, str], camp: str) -> list[str]:
    return [method for method, stage in stages.items() if stage == camp]


def _estimates(points: Points, grid: Grid) -> list[Estimate]:
    sign = sign_of(points.metric)
    return [
        best_within(grid.macs_ratio, grid.evals, budget, sign=sign, dev=grid.dev, redrawn=grid.items)
        for budget in points.index["budgets"]
    ]
