"""What is said of a model that is taken home: its figures in a table, and its card."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping
from typing import Any

from bench.plugins.registry import summaries
from bench.report.cells import (
    TEXTS,
    Form,
    count,
    estimated,
    in_bytes,
    known,
    measured,
    metric_name,
    percent,
    score,
    short,
    written,
)
from bench.report.document import Bullets, Column, Definitions, Piece, Row, Section, Table, Text, render_terminal
from bench.report.quality import draw_items, grid_of
from bench.results.points import Points
from bench.results.selection import chosen_models, models_at
from bench.ship.pick import Choice
from bench.stats.estimates import Estimate, best_within, sign_of
from bench.stats.significance import seeds_needed
from bench.storage.provenance import without_password
from bench.terminal import terminal
from bench.trial.record import TrialFolder
from bench.widths import IN_WORDS

#: costs of a model: what a table calls them, and how they are written
_COSTS: dict[str, tuple[str, Form]] = {
    "macs": ("MACs", short),
    "macs_ratio": ("MACs, share of the dense model's", measured),
    "params": ("parameters", short),
    "size_bytes": ("size of the file", in_bytes),
    "memory_bytes": ("activations alive at the same time", in_bytes),
    "latency_ms": ("latency, ms", written(".3f")),
    "latency_ratio": ("latency, share of the dense model's", measured),
}


def show(choice: Choice, *more: str) -> None:
    """Print why it is this model, its figures, and further lines."""
    heading = f"{choice.points.title}: {choice.name}"
    console = terminal()
    console.print(render_terminal([Section(heading, [Text(choice.why), _figures(choice)])]), "")
    for line in more:
        console.print(line, soft_wrap=True)  # a command that is copied has no line breaks


def card_sections(choice: Choice, usage: Mapping[str, str]) -> list[Section]:
    """The card of a model; ``usage``: what only the exporter knows of its files, by name."""
    index = choice.points.index
    task, fields = index["task"], index["setting"]["fields"]
    parts = list(choice.points.eval_scores.get(choice.key, {}).items())[1:]
    pieces: dict[str, list[Piece]] = {
        "Use": [_named(usage)],
        "Figures": [_figures(choice), *([_parts(choice, dict(parts))] if parts else [])],
        "How it was compressed": [_named(_compression(choice))],
        "Data": [_named({"digest": index["setting"].get("data") or "none", **fields})],
        "Limits of use": [Bullets(_limits(choice))],
        "Where it comes from": [_named(_origin(choice))],
    }
    head = Section(f"{task}: {choice.name}", [Text(_title("tasks", task)), Text(choice.why)])
    return [head, *(Section(heading, own) for heading, own in pieces.items())]


def eval_estimate(points: Points, method: str, trial: int) -> Estimate | None:
    """The mean eval score of a chosen point with its interval, drawn as in the report; None unless all are scored."""
    own = models_at(chosen_models(points), method, trial)
    if own["eval"].isna().any() or not (own["status"] == "complete").all():
        return None
    scores = {str(key): float(value) for key, value in zip(own["key"], own["eval"], strict=True)}
    items = {key: TrialFolder.of(points.folder, key).item_scores() for key in scores}
    grid = grid_of(own.astype({"dev": float, "eval": float}), [method], draw_items(items, scores))
    if grid is None:
        return None
    return best_within(grid.cost, grid.evals, math.inf, sign=sign_of(points.metric), redrawn=grid.redrawn)


def _figures(choice: Choice) -> Table:
    """The figures of the model, beside the means over the seeds of its point."""
    points, row, point = choice.points, choice.row, choice.point
    rows: list[tuple[str, str, str, Form]]
    rows = [(f"{metric_name(points.metric)} on dev", points.dev_column, "dev", score)]
    rows += [(f"{metric_name(points.metric)} on eval (decides nothing)", points.eval_column, "eval", score)]
    rows += [(name, column, column, form) for column, (name, form) in _COSTS.items()]
    columns = [Column(f"for one {points.work_unit}", "text"), Column("this model")]
    cells = {name: [form(row[column]) if known(row[column]) else ""] for name, column, _, form in rows}
    if point is not None:
        columns.append(Column(f"mean over seeds ({point['seeds']}), 95 % interval"))
        estimate = eval_estimate(points, str(row["method"]), int(row["trial"]))
        for name, _, column, form in rows:
            interval = column == "eval" and estimate is not None
            cells[name].append(estimated(estimate) if interval and estimate else form(point[column]))
    return Table(columns, [Row([name, *own]) for name, own in cells.items()], sortable=False)


def _parts(choice: Choice, parts: Mapping[str, float]) -> Table:
    columns = [Column(f"{metric_name(choice.points.metric)} on eval, part by part", "text"), Column("this model")]
    rows = [Row([name.partition("/")[2], score(value)]) for name, value in parts.items()]
    return Table(columns, rows, sortable=False)


def _compression(choice: Choice) -> dict[str, str]:
    row, record = choice.row, TrialFolder.of(choice.points.folder, choice.key).record()
    method, steps = str(row["method"]), count(row["train_steps"])
    links = [f"{link}: {_title('methods', link)}" for link in method.partition(":")[0].split("+")]
    if known(row["dense_share"]):
        steps += f", after {count(row['total_steps'] - row['train_steps'])} of the dense model that it starts from"
    cost = IN_WORDS[choice.points.cost]
    budget = f"at most {percent(row['budget'])} of the dense model's {cost}" if known(row["budget"]) else "none"
    found = {"method": method, **dict(link.split(": ", 1) for link in links)}
    notes = {"notes": " ".join(record.notes)} if record and record.notes else {}
    return {**found, "settings": row["settings"], "budget": budget, "training steps": steps, **notes}


def _limits(choice: Choice) -> list[str]:
    """What the figures do not say of the model elsewhere."""
    index, row, seeds = choice.points.index, choice.row, choice.point["seeds"] if choice.point else 1
    holds = {
        "embedded": index["setting"]["fields"].get("data") == "embedded",
        "smoke": index["preset"] == "smoke",
        "seeds": seeds < seeds_needed(paired=True),
        "not_chosen": choice.point is None,
        "missed": row["status"] == "missed",
        "latency": known(row["latency_ms"]),
        "simulated": bool(row["simulated"] is True),
        "threshold": True,
    }
    names = {"seeds": seeds, "processor": index["provenance"].get("processor", "an unknown processor")}
    names |= {"reason": row["reason"], "metric": choice.points.metric.title, "work_unit": choice.points.work_unit}
    names["timed_in"] = choice.points.timed_in
    texts = {**TEXTS["limits"], **TEXTS["card"]}
    return [texts[name].format(**names) for name, there in holds.items() if there]


def _origin(choice: Choice) -> dict[str, str]:
    index, origin = choice.points.index, choice.points.index["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in origin.get("packages", {}).items())
    made = {name: without_password(str(origin[name])) for name in ("command", "date", "commit") if name in origin}
    exported = {"exported by": choice.points.export_command("--trial", choice.key)}
    version = {"version": f"compression-bench {importlib.metadata.version('compression-bench')}"}
    return {**version, **made, **exported, "comparison": index["identity"], "trial": choice.key, "packages": packages}


def _title(kind: Any, name: str) -> str:
    return next((plugin.title for plugin in summaries(kind) if plugin.name == name), "not installed here")


def _named(entries: Mapping[str, Any]) -> Definitions:
    return Definitions([(name, [str(said)]) for name, said in entries.items()])
