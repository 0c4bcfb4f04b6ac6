"""How methods look in figures: colour and marker tell the method, dashes when it compresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.chosen import stage_name
from bench.report.svg import FAINT

_MARKERS = "osD^vPX*<>hp"
_DASHES = {"in-training": "-", "post-hoc": "--", "control": ":"}
_PALE = (4 + 2, 4 + 3, 8)  # of the palette: too close to a white page, or grey like the controls


@dataclass(frozen=True)
class Look:
    """The look of one method: what ``Axes.plot`` takes, and its name in the legend."""

    line: dict[str, Any]
    label: str

    def key(self, *, joined: bool = True) -> Line2D:
        """Its entry in the legend, with or without the line that joins its points."""
        line = self.line if joined else {**self.line, "linestyle": "none"}
        return Line2D([], [], **line, label=self.label, markersize=6, linewidth=1.6)


def looks_of(table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, Look]]:
    """The rows of each method, and how they are drawn.

    Args:
        table: columns method, stage, control and others.
    """
    palette = [to_hex(c) for i, c in enumerate(sns.color_palette("colorblind")) if i not in _PALE]
    taken = 0
    for position, (method, rows) in enumerate(table.groupby("method", sort=False)):
        first = rows.iloc[0]
        taken += not first["control"]
        colour = FAINT if first["control"] else palette[(taken - 1) % len(palette)]
        line = {"color": colour, "marker": _MARKERS[position % len(_MARKERS)], "linestyle": _DASHES[stage_name(first)]}
        yield rows, Look(line, f"{method} ({stage_name(first)})")


def legend(figure: Figure, handles: list[Line2D]) -> None:
    """Below the axes; the labels are set afterwards, as matplotlib leaves out those with a leading underscore."""
    labels = [str(handle.get_label()) for handle in handles]
    half = (len(labels) + 1) // 2  # the first half stands in the left column
    widest = sum(max(map(len, column), default=0) for column in (labels[:half], labels[half:]))
    figure.set_figwidth(max(figure.get_figwidth(), 1.4 + 0.068 * widest))
    drawn = figure.legend(handles, ["-"] * len(labels), loc="outside lower center", ncols=2, fontsize=9, handlelength=3)
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_text(label)
