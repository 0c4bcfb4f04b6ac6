"""The final table in the terminal: method x budget."""

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from bench.points import Points
from bench.report.chosen import chosen_points

WIDE = 128  # columns that the whole table needs


def result_table(points: Points, width: int) -> Table:
    """One row for each chosen point: what it costs, how good it is, whether it is in-training or post-hoc.

    Args:
        points: the points.
        width: columns of the terminal; a narrow one is shown fewer columns of the table.
    """
    unit = "%" if points.metric.unit == "percent" else points.metric.unit
    name = f"{points.metric.name.upper()} {unit}"
    title = f"{points.index['task']} · {points.index['preset']}: costs for one {points.work_unit}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    headers = ["method", "compressed", "budget", "MACs", "of dense", "params", "size", "latency", f"dev\n{name}"]
    headers.append(f"eval\n{name}")
    shown = [h for h in headers if width >= WIDE or h not in ("MACs", "params", "size")]
    for header in shown:
        table.add_column(header, justify="left" if header in headers[:2] else "right", no_wrap=True)
    previous = None
    for row in chosen_points(points).to_dict("records"):
        first = row["method"] != previous
        if first and previous is not None:
            table.add_section()
        previous = row["method"]
        cells = dict(zip(headers, _cells(points, row, first=first), strict=True))
        style = "red" if row["failed"] or row["missed"] else "dim" if row["control"] else ""
        table.add_row(*(cells[header] for header in shown), style=style)
    return table


def _cells(points: Points, row: Mapping[Any, Any], *, first: bool) -> list[str]:
    share = _number(row["macs_ratio"], "{:.3f}")
    if row["effective_macs_ratio"] < 0.98 * row["macs_ratio"]:  # zeros that the runtime multiplies all the same
        share = f"({row['effective_macs_ratio']:.3f} ≠ 0) {share}"
    stage = "control" if row["control"] else str(row["stage"]).replace("_", "-")
    return [
        str(row["method"]) if first else "",
        stage if first else "",
        _number(row["budget"], "{:.4g}"),
        _short(row["macs"]),
        share,
        _short(row["params"]),
        _short(row["size_bytes"]) + "B",
        _number(row["latency_ratio"], "x {:.2f}"),
        _number(row[points.dev_column], "{:.1f}"),
        "failed" if row["failed"] else _number(row[points.eval_column], "{:.1f}"),
    ]


def _short(value: float) -> str:
    """Three digits and a prefix: 6.47 M."""
    if math.isnan(value):
        return ""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "


def _number(value: object, form: str) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else form.format(value)
