"""``bench explain``: what the width graph found in a model, as a table and as a picture of the network.

What a layer costs is its share of MACs and, with ONNX Runtime, of latency.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich.table import Table
from torch import nn

from bench.errors import BenchError, said
from bench.export.layers import layer_latency_ms, weighty_layers
from bench.export.model import export_onnx
from bench.export.streaming import Stream, export_stream
from bench.plugins.own_model import dense_model
from bench.plugins.task import Task
from bench.terminal import terminal
from bench.widths.widths import Widths

_INCH_A_ROW = 0.3


class Row(NamedTuple):
    """A weight: the groups that it reads and makes, its share of all MACs, and why some of it must stay.

    The share of latency is that of its layer, and stands at the first of the layer's weights.
    """

    weight: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    share: float
    latency: float | None
    stays: str


def explained(widths: Widths, latency_ms: Mapping[str, float]) -> list[Row]:
    """Every weight that costs MACs, in the order of the model, with the latency of its layer, by name."""
    macs, total, reasons = widths.weight_macs, widths.macs({}), widths.unreducible
    order = [name for name, _ in widths.model.named_parameters() if name in macs]

    def of(kind: str, weight: str) -> tuple[str, ...]:
        return tuple(g.name for g in widths.groups if any(part.tensor == weight for part in getattr(g, kind)))

    first = {name.rpartition(".")[0]: name for name in reversed(order)}
    spent = {name: latency_ms.get(layer, 0.0) / sum(latency_ms.values()) for layer, name in first.items()}
    rows = [(name, of("consumers", name), of("producers", name)) for name in order]
    return [Row(*row, macs[row[0]] / total, spent.get(row[0]), reasons.get(row[0], "")) for row in rows]


def explain(task: Task, picture: Path) -> None:
    """Print the groups and weights of a task's model, and draw them into an SVG file.

    Raises:
        BenchError: the width graph cannot follow the model (the message names the operator and its layer), or the
            picture cannot go where it should.
    """
    if picture.suffix != ".svg" or not picture.parent.is_dir():
        raise BenchError(f"--picture {picture}: expected a name that ends in .svg, in a folder that exists")
    widths = Widths(dense_model(task), task.example_input(), input_axis=task.input_width_axis)
    file = export_onnx(widths.model, task.example_input())
    latency = layer_latency_ms(file, task.example_input(), weighty_layers(widths.model))
    rows, console = explained(widths, latency), terminal()
    groups = Table("group", "size", "made by", "read by", title="width groups", title_justify="left", box=None)
    for group in widths.groups:
        made, read = (
            ", ".join(part.layer or part.tensor for part in parts) for parts in (group.producers, group.consumers)
        )
        groups.add_row(group.name, str(group.size), made, read)
    weights = Table(
        *("weight", "reads", "makes", "of MACs", "of latency", "must stay, due to"), title="weights", box=None
    )
    for row in rows:
        names = (", ".join(part) for part in (row.reads, row.makes))
        spent = "" if row.latency is None else f"{row.latency:.1%}"
        weights.add_row(row.weight, *names, f"{row.share:.1%}", spent, row.stays)
    rest = 1 - sum(row.latency or 0 for row in rows)
    console.print(groups, "", weights, "")
    console.print(
        f"latency: {sum(latency.values()):.3f} ms in the kernels of ONNX Runtime, {rest:.1%} outside these layers"
    )
    for name, why in widths.fixed.items():
        console.print(f"cannot be cut: {name}: {why}")
    console.print(f"smallest model: {widths.smallest_budget:.3f} of {widths.reference_macs:,} MACs")
    if task.streams:
        console.print(f"chunk by chunk: {_streaming(widths.model, task)}")
    draw(rows, picture)
    console.print(f"picture: {picture}")


def _streaming(model: nn.Module, task: Task) -> str:
    try:
        return f"carries {', '.join(Stream(export_stream(model, task.example_input())).states)}"
    except BenchError as error:
        return said(error)


def draw(rows: list[Row], path: Path) -> None:
    """The weights from the input down, a bar for the MACs of each, and a line for each group."""
    figure = Figure(figsize=(9, 1 + _INCH_A_ROW * len(rows)))
    bars, lines = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    colours = ["tab:gray" if not row.reads and not row.makes else "tab:blue" for row in rows]
    bars.barh(range(len(rows)), [100 * row.share for row in rows], color=colours)
    bars.plot([100 * (row.latency or 0) for row in rows], range(len(rows)), "|", color="tab:red")
    bars.set_yticks(range(len(rows)), [row.weight.removesuffix(".weight") for row in rows], fontsize=7)
    bars.set_xlabel("share, percent: bars of MACs (gray: stays whole), red of latency")
    bars.invert_yaxis()
    names = list(dict.fromkeys(name for row in rows for name in (*row.makes, *row.reads)))
    for place, name in enumerate(names):
        at = [i for i, row in enumerate(rows) if name in (*row.makes, *row.reads)]
        lines.plot([place] * len(at), at, "-", color=f"C{place % 10}", linewidth=1)
        for i in at:
            lines.plot([place], [i], marker="o" if name in rows[i].makes else ".", color=f"C{place % 10}")
    lines.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    lines.set_xlabel("width groups; a disc makes it, a point reads it")
    figure.savefig(path, bbox_inches="tight")
