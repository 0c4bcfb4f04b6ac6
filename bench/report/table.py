"""The final table in the terminal: method x budget."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.report.chosen import chosen_points, stage_name
from bench.report.excess import excess_table
from bench.report.numbers import extra, number, short, title, unit
from bench.report.reading import declined
from bench.report.reading import notes as notes_of
from bench.results.points import Points

WIDE = 128  # columns that the whole table needs


def result_table(points: Points, width: int) -> Group:
    """The chosen points, and below them what else a reader must know of each method.

    Args:
        points: the points.
        width: columns of the terminal; a narrow one is shown fewer columns of the table.
    """
    return Group(_table(points, width), *_remarks(points))


def _remarks(points: Points) -> list[Text]:
    """The distance from the best possible, which methods do not apply, and what methods note beside their results."""
    lines = []
    if len(table := excess_table(points)):
        ranked = table.sort_values("mean", kind="stable").to_dict("records")
        each = ", ".join(f"{row['method']} {extra(row['mean'])} ({extra(row['worst'])})" for row in ranked)
        lines.append(Text(f"above the best possible at the same compute, mean (worst model): {each}"))
    lines += [Text(f"does not apply  {method}: {reason}", style="dim") for method, reason in declined(points)]
    lines += [Text(f"note  {name}: {said}", style="dim") for name, notes in notes_of(points) for said in notes]
    return lines


def _table(points: Points, width: int) -> Table:
    """One row for each chosen point: what it costs, how good it is, whether it is in-training or post-hoc."""
    name = f"{title(points.metric)} {unit(points.metric)}"
    heading = f"{points.index['task']} · {points.index['preset']}: costs for one {points.work_unit}"
    table = Table(title=heading, box=box.SIMPLE_HEAD)
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
    share = number(row["macs_ratio"], "{:.3f}")
    if row["unstructured"]:
        share = f"({row['effective_macs_ratio']:.3f} ≠ 0) {share}"
    return [
        escape(str(row["method"])) if first else "",
        stage_name(row) if first else "",
        number(row["budget"], "{:.4g}"),
        short(row["macs"]),
        share,
        short(row["params"]),
        short(row["size_bytes"], "B"),
        number(row["latency_ratio"], "x {:.2f}"),
        number(row[points.dev_column], "{:.1f}"),
        "failed" if row["failed"] else number(row[points.eval_column], "{:.1f}"),
    ]
