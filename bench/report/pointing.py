"""Points of figures that say more under the pointer, and at a click the command that exports their model."""

from __future__ import annotations

import html
import re
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.report.cells import Form, in_bytes, known, measured, metric_name, percent, records, score, short, written
from bench.report.data import ReportData
from bench.widths import IN_WORDS

_SCHEME = "trial:"  # of addresses in a drawn figure, until it is known what each point says
_SIZE = 190  # of what takes the pointer, points²; the marker itself is hard to hit
_LINK = re.compile(rf'<a xlink:href="{_SCHEME}([^"]*)"[^>]*>')


def mark(ax: Axes, points: pd.DataFrame, x: str, y: str) -> None:
    """Lay an invisible spot over each point (columns ``x``, ``y``) that has a model, which leads to that."""
    look: dict[str, Any] = {
        "facecolors": "none",
        "edgecolors": "none",
        "linewidths": [0, 0],
        "zorder": 9,
        "marker": "s",
    }
    # two widths and all addresses twice: a single one would make matplotlib draw all spots as one
    points = points[points["model"].notna()]
    addresses = [_SCHEME + key for key in points["model"]] * 2
    ax.scatter(points[x].tolist(), points[y].tolist(), s=_SIZE, urls=addresses, **look)


def linked(svg: str, data: ReportData) -> str:
    """The figure with what its points say; without scripts a point leads to the table of all of them."""
    said = {row["model"]: _said(data, row) for row in records(data.chosen)}

    def link(found: re.Match[str]) -> str:
        words, command = "&#10;".join(map(html.escape, said[found[1]])), data.points.export_command("--trial", found[1])
        return f'<a href="#points" class="point" aria-label="{words}" data-command="{html.escape(command)}">'

    return _LINK.sub(link, svg)


def unlinked(svg: str) -> str:
    """The figure without the spots, for a file of its own."""
    return re.sub(r'<a [^>]*class="point".*?</a>\n?', "", svg, flags=re.DOTALL)


def _said(data: ReportData, row: dict[Any, Any]) -> list[str]:
    """What stands beside the pointer, line by line; what is not known is left out."""
    name, seeds = metric_name(data.metric), ", ".join(str(trial["seed"]) for trial in row["trials"])
    budget = f", budget {percent(row['budget'])} of {IN_WORDS[data.points.cost]}" if known(row["budget"]) else ""
    figures = [f"{name} on eval {score(row['eval'], row['eval_std'])}", f"on dev {score(row['dev'])}"]
    costs: dict[str, tuple[str, Form]]
    costs = {"macs_ratio": ("of the MACs", measured), "macs": ("MACs", short), "params": ("parameters", short)}
    found = [f"{form(row[column])} {what}" for column, (what, form) in costs.items() if known(row[column])]
    found += [in_bytes(row["size_bytes"])] if known(row["size_bytes"]) else []
    found += [written(".3f")(row["latency_ms"]) + " ms"] if known(row["latency_ms"]) and not row["simulated"] else []
    click = f"click: how to export the model of seed {row['model_seed']}, the best on dev"
    trouble = [] if row["valid"] else ["a seed failed or missed the budget"]
    head = f"{row['method']} ({row['kind']}){budget}"
    return [
        head,
        f"{'seeds' if row['seeds'] > 1 else 'seed'} {seeds}",
        ", ".join(figures),
        ", ".join(found),
        *trouble,
        click,
    ]
