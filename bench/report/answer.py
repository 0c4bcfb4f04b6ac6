"""The question, answered for one run in plain words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.points import Points
from bench.report.chosen import chosen_points


def budget_duels(points: Points) -> pd.DataFrame:
    """For every budget the best method of each camp: chosen on dev, read on eval.

    A camp's candidates at a budget are its chosen models that cost at most that share of the dense MACs. Controls
    belong to neither camp. Columns: budget, in_training, in_training_score, post_hoc, post_hoc_score, uniform_score.
    """
    table = chosen_points(points)
    table = table[(table["failed"] == 0) & table[points.eval_column].notna()]
    rows = []
    for budget in points.index["budgets"]:
        within = table[table["macs_ratio"] <= budget * (1 + 1e-9)]
        row: dict[str, object] = {"budget": budget}
        for camp in ("in_training", "post_hoc"):
            best = _best(points, within[(within["stage"] == camp) & ~within["control"]])
            row[camp] = None if best is None else best["method"]
            row[f"{camp}_score"] = None if best is None else best[points.eval_column]
        uniform = _best(points, within[within["method"] == "uniform_width"])
        row["uniform_score"] = None if uniform is None else uniform[points.eval_column]
        rows.append(row)
    return pd.DataFrame(rows)


def answer(points: Points) -> str:
    """One or two sentences: which camp is ahead at how many budgets, and how far this can be trusted."""
    duels = budget_duels(points).dropna(subset=["in_training_score", "post_hoc_score"])
    if duels.empty:
        return (
            "No answer yet: no budget has a finished model of both camps (compressed while training, and afterwards)."
        )
    sign = 1 if points.metric.direction == "minimize" else -1
    gaps = sign * (duels["post_hoc_score"].astype(float) - duels["in_training_score"].astype(float))
    wins, losses, count = int((gaps > 0).sum()), int((gaps < 0).sum()), len(gaps)
    unit = "points" if points.metric.unit == "percent" else points.metric.unit
    name = points.metric.name.upper()
    if wins == losses:
        verdict = f"Neither is ahead: compressing while training and afterwards win {wins} of {count} budgets each"
    else:
        ahead = "while it trains" if wins > losses else "afterwards"
        verdict = f"On this run the network is better compressed {ahead}, at {max(wins, losses)} of {count} budgets"
    seeds = int(points.table["seed"].nunique())
    doubt = (
        f"This rests on {seeds} seed{'s' if seeds > 1 else ''}, too few to tell differences of this size from chance."
        if seeds < 4
        else f"This rests on {seeds} seeds."
    )
    return (
        f"{verdict} (best method of each camp, chosen on dev, read on eval; in-training is on average "
        f"{abs(gaps.mean()):.1f} {unit} of {name} {'better' if gaps.mean() > 0 else 'worse'}). {doubt}"
    )


def _best(points: Points, table: pd.DataFrame) -> pd.Series[Any] | None:
    if table.empty:
        return None
    return table.sort_values(points.dev_column, ascending=points.metric.direction == "minimize").iloc[0]
