"""report.html: one file that holds everything, for a reader who was not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.points import Points
from bench.report import figures, reading
from bench.report.answer import CAMPS, answer, budget_duels
from bench.report.chance import chance_table
from bench.report.chosen import chosen_points, stage_name
from bench.report.covered import COSTS, hypervolumes, on_front
from bench.report.excess import excess_table
from bench.report.numbers import extra, known, measured, number, percent, score, short, signed, title, unit
from bench.report.published import DRAWN, part_names, published_points
from bench.report.undiminished import undiminished_table


def render_html(points: Points, fronts: dict[str, str | None]) -> str:
    """The page.

    Args:
        points: what it is about.
        fronts: the figure of each cost axis by its column, None where there was nothing to draw.
    """
    breakdown = figures.breakdown_figure(points)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            index=points.index,
            metric=f"{title(points.metric)} {unit(points.metric)}",
            metric_name=title(points.metric),
            maximise=points.metric.direction == "maximize",
            columns={"dev": points.dev_column, "eval": points.eval_column},
            answer=answer(points),
            camps=CAMPS,
            limits=reading.limits(points),
            rules=reading.rules(points),
            controls=[c for c in reading.controls() if c[0] in points.index["methods"]],
            troubles=_records(reading.troubles(points)),
            declined=reading.declined(points),
            notes=reading.notes(points),
            budgets=points.index["budgets"],
            chance=_records(chance_table(points)),
            undiminished=_records(undiminished_table(points)),
            excess=_records(excess_table(points)),
            published=_records(published := published_points(points)),
            published_parts=part_names(published),
            published_heads=[(part, 0) for part in part_names(published)],
            published_drawn=points.index["preset"] in DRAWN,
            provenance=reading.provenance(points),
            duels=_duels(points),
            # the only texts that are not escaped here: svg.py has escaped what it was given
            fronts=[Markup(svg) for svg in fronts.values() if svg],
            breakdown=Markup(breakdown) if breakdown else None,
            chosen=_chosen(points),
            hypervolumes=_records(hypervolumes(points)),
            costs=list(COSTS),
            cost_heads=[(name, 0) for name in COSTS.values()],
            checkpoints=sorted(points.checkpoints.items()),
            work_unit=points.work_unit,
            trials=_records(points.table),
        )
    )


def _environment() -> Environment:
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names and reasons come from plugins and users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters.update(
        percent=percent,
        measured=measured,
        short=short,
        score=score,
        number=number,
        signed=signed,
        known=known,
        extra=extra,
    )
    return page


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows for the page; what is not known is None."""
    return [{k: v if known(v) else None for k, v in row.items()} for row in table.to_dict("records")]


def _duels(points: Points) -> list[dict[str, Any]]:
    """The duels at what is executed; who wins each; and the winners if zeros were free, where they differ."""
    real = _records(budget_duels(points))
    ideal = _records(budget_duels(points, "effective_macs_ratio"))
    sign = 1 if points.metric.direction == "minimize" else -1
    for row, free in zip(real, ideal, strict=True):
        both = row["in_training"] is not None and row["post_hoc"] is not None
        row["gap"] = sign * (row["post_hoc_score"] - row["in_training_score"]) if both else None
        row["winner"] = None if not row["gap"] else "in_training" if row["gap"] > 0 else "post_hoc"
        row["if_free"] = [
            (stage.replace("_", "-"), free[stage], free[f"{stage}_score"])
            for stage in CAMPS
            if free[stage] != row[stage] and free[stage] is not None
        ]
    return real


def _chosen(points: Points) -> list[dict[str, Any]]:
    """The chosen points with their trials, one for each seed."""
    table = chosen_points(points)
    table["front"] = on_front(points)
    trials = points.table[points.table["chosen"].astype(bool)]
    rows = _records(table)
    for row in rows:
        same = trials[(trials["method"] == row["method"]) & (trials["trial"] == row["trial"])]
        row["files"] = _records(same[["seed", "key", "run_id", "settings"]].sort_values("seed"))
        row["stage_name"] = stage_name(row)
        row["steps"] = number(row["train_steps"], "{:,.0f}")
        if (before := (row["total_steps"] or 0) - (row["train_steps"] or 0)) > 0:
            row["steps"] += f" + {before:,.0f}"
        row["std"] = row[f"{points.eval_column}_std"]
    return rows
