"""report.html: one file that holds everything, for a reader who was not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report import figures, reading
from bench.report.answer import CAMPS, answer, budget_duels
from bench.report.best import how_drawn
from bench.report.chosen import chosen_points, stage_name
from bench.report.covered import COSTS, on_front
from bench.report.excess import excess_table
from bench.report.findings import Findings
from bench.report.links import links
from bench.report.numbers import (
    estimated,
    extra,
    known,
    measured,
    number,
    percent,
    reached,
    score,
    short,
    signed,
    title,
    unit,
)
from bench.report.published import DRAWN, part_names, published_points
from bench.report.speedup import LATENCIES, TIMED, speedup_figure, speedup_table
from bench.report.surfaces import attainment_figure, how_banded
from bench.report.training import EFFORT_NAMES, EFFORTS, LEDGERS, training_table
from bench.results.points import Points

MOST_LISTED = 1000  # trained models; all of them are in points.csv


def render_html(points: Points, fronts: dict[str, str | None], findings: Findings) -> str:
    """The page.

    Args:
        points: what it is about.
        fronts: the figure of each cost axis by its column, None where there was nothing to draw.
        findings: what rests on draws of seeds and items.
    """
    trials = _listed(points)
    parts = (_answer(points, findings), _figures(points, fronts), _costs(points), _context(points))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            index=points.index,
            metric=f"{title(points.metric)} {unit(points.metric)}",
            metric_name=title(points.metric),
            maximise=points.metric.direction == "maximize",
            columns={"dev": points.dev_column, "eval": points.eval_column},
            budgets=points.index["budgets"],
            chosen=_chosen(points),
            links=links(points, trials["key"]),
            trials=_records(trials),
            all_trials=len(points.table),
            work_unit=points.work_unit,
            **{name: value for part in parts for name, value in part.items()},
        )
    )


def _answer(points: Points, findings: Findings) -> dict[str, Any]:
    """Who is ahead, how sure that is, and how small each method gets."""
    best = findings.best
    return {
        "answer": answer(points),
        "camps": CAMPS,
        "limits": reading.limits(points),
        "duels": _duels(points),
        "best": best,
        "best_drawn": how_drawn([estimate for row in best for estimate in row.estimates]) if best else "",
        "items_missing": findings.without_items,
        "undiminished": findings.undiminished,
        "chance": _records(findings.chance),
        "hypervolumes": _records(findings.hypervolumes),
        "costs": list(COSTS),
        "cost_heads": [(name, 0) for name in COSTS.values()],
        "excess": _records(excess_table(points)),
    }


def _figures(points: Points, fronts: dict[str, str | None]) -> dict[str, Any]:
    """Texts that are not escaped: svg.py has escaped what it was given."""
    drawn = {
        "breakdown": figures.breakdown_figure(points),
        "attainment": attainment_figure(points),
        "speedup_figure": speedup_figure(points),
    }
    marked: dict[str, Any] = {name: Markup(svg) if svg else None for name, svg in drawn.items()}
    return {**marked, "fronts": [Markup(svg) for svg in fronts.values() if svg], "banded": how_banded(points)}


def _costs(points: Points) -> dict[str, Any]:
    """Speed and training."""
    speedup = speedup_table(points)
    timed, latencies = ([name for name in names if name in speedup] for names in (TIMED, LATENCIES))
    columns = [(ledger, effort) for ledger in LEDGERS for effort in EFFORTS]
    return {
        "speedup": _records(speedup),
        "timed": timed,
        "latencies": latencies,
        "speedup_heads": [(TIMED[name], 0) for name in timed],
        "latency_heads": [(LATENCIES[name], 0) for name in latencies],
        "training": _records(training_table(points)),
        "training_columns": [f"{ledger}_{effort}" for ledger, effort in columns],
        "training_heads": [(f"{LEDGERS[ledger]}: {EFFORT_NAMES[effort]}", 0) for ledger, effort in columns],
        "checkpoints": sorted(points.checkpoints.items()),
    }


def _context(points: Points) -> dict[str, Any]:
    """What a reader must know beside the numbers."""
    published = published_points(points)
    return {
        "rules": reading.rules(points),
        "controls": [c for c in reading.controls() if c[0] in points.index["methods"]],
        "troubles": _records(reading.troubles(points)),
        "declined": reading.declined(points),
        "notes": reading.notes(points),
        "published": _records(published),
        "published_parts": part_names(published),
        "published_heads": [(part, 0) for part in part_names(published)],
        "published_drawn": points.index["preset"] in DRAWN,
        "provenance": reading.provenance(points),
    }


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
        reached=reached,
        estimated=estimated,
        estimated_share=lambda estimate: estimated(estimate, measured),
        estimated_volume=lambda estimate: estimated(estimate, "{:.3f}".format),
    )
    return page


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows for the page; what is not known is None."""
    return [{k: v if known(v) else None for k, v in row.items()} for row in table.to_dict("records")]


def _listed(points: Points) -> pd.DataFrame:
    """The trained models that the page lists: with thousands of them the chosen ones, then the best on dev."""
    best_first = points.metric.direction == "minimize"
    ranked = points.table.sort_values(points.dev_column, ascending=best_first, kind="stable")
    ranked = ranked.sort_values("chosen", ascending=False, kind="stable", key=lambda chosen: chosen.astype(bool))
    return points.table.loc[sorted(ranked.index[:MOST_LISTED])]


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
