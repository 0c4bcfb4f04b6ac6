"""How figures are drawn: as SVG that is the same on every build, readable on a light and on a dark page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, Locator, NullLocator

from bench.report.cells import Form
from bench.stats.fronts import AttainmentBand, Steps

#: stands for the text colour of the page, which matplotlib cannot name
INK = "#010203"
FAINT = "#808890"
_STYLE: Any = {  # matplotlib types every key on its own
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    "svg.fonttype": "none",  # text stays text: small, searchable
    "svg.hashsalt": "compression-bench",
    "text.parse_math": False,  # a `$` in a method's name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
# a file of its own has no page to take the colour from
_STANDALONE = "<style>svg{color:#1c2024}@media(prefers-color-scheme:dark){svg{color:#e4e7ea}}</style>"
_MARKERS = "osD^vPX*<>hp"
DASHES = {"in-training": "-", "post-hoc": "--", "control": ":"}
_FAMILIES = {"in-training": "crest", "post-hoc": "flare"}  # blue and red-brown, as on the page


@dataclass(frozen=True)
class Look:
    """The look of one method: what ``Axes.plot`` takes, and its name in the legend."""

    line: dict[str, Any]
    label: str

    @property
    def points(self) -> dict[str, Any]:
        """The same without the line that joins its points."""
        return {**self.line, "linestyle": "none"}

    def key(self, *, joined: bool = True) -> Line2D:
        """Its entry in the legend, with or without the line that joins its points."""
        return Line2D([], [], **(self.line if joined else self.points), label=self.label, markersize=6, linewidth=1.6)


def looks_of(chosen: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, Look]]:
    """Each method of a table with its rows and how they are drawn, which is the same in all figures of a page.

    Each camp has a family of colours; shade and marker tell the method among all that are chosen, dashes the camp.
    """
    kinds = chosen.groupby("method", sort=False)["kind"].first()
    shades = {kind: iter(camp_colours(kind, int((kinds == kind).sum()))) for kind in DASHES}
    for position, (method, kind) in enumerate(kinds.items()):
        line = {"color": next(shades[kind]), "marker": _MARKERS[position % len(_MARKERS)], "linestyle": DASHES[kind]}
        if len(own := table[table["method"] == method]):
            yield str(method), own, Look(line, f"{method} ({kind})")


def camp_colours(kind: str, count: int) -> list[str]:
    """Shades of the colour of a camp, from the darkest; controls are grey."""
    if kind == "control":
        return [FAINT] * count
    return [to_hex(colour) for colour in sns.color_palette(_FAMILIES[kind], count + 1)[::-1][:count]]


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures; the caller's settings of matplotlib come back afterwards."""
    with matplotlib.rc_context(), sns.axes_style("ticks"):
        matplotlib.rcParams.update(_STYLE)
        yield


def blank_figure(width: float, height: float) -> Figure:
    """A figure that pyplot does not know of, so that nothing of it stays behind; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # seaborn measures labels with a renderer
    return figure


def ticks(axis: Axis, locator: Locator, form: Form) -> None:
    """Ticks in these places, written in this form, and none in between."""
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axis.set_minor_locator(NullLocator())


def legend(figure: Figure, handles: list[Line2D], place: Any = "outside lower center") -> None:
    """Outside the axes; the labels are set afterwards, as matplotlib leaves out those with a leading underscore."""
    labels = [str(handle.get_label()) for handle in handles]
    half = (len(labels) + 1) // 2  # the first half stands in the left column
    widest = sum(max(map(len, column), default=0) for column in (labels[:half], labels[half:]))
    figure.set_figwidth(max(figure.get_figwidth(), 1.4 + 0.068 * widest))
    drawn = figure.legend(handles, ["-"] * len(labels), loc=place, ncols=2, fontsize=9, handlelength=3)
    for text, label in zip(drawn.get_texts(), labels, strict=True):
        text.set_text(label)


def draw_band(ax: Axes, band: AttainmentBand, colour: str, dashes: Any, width: float = 1.6) -> None:
    """A band and its median, up to the dense model's cost; the axis is a share of that cost."""
    costs = np.array(sorted({*band.best.costs, *band.worst.costs, 1.0}))
    best, worst = ([steps.at(cost) for cost in costs] for steps in (band.best, band.worst))
    both = np.isfinite(best) & np.isfinite(worst)  # where no seed or not every seed attains anything, there is no band
    if both.any():
        low, high = (np.where(both, values, 0.0) for values in (best, worst))
        ax.fill_between(costs, low, high, where=both.tolist(), step="post", color=colour, alpha=0.18, linewidth=0)
    draw_steps(ax, band.median, color=colour, linestyle=dashes, linewidth=width)


def draw_steps(ax: Axes, steps: Steps, **line: Any) -> None:
    """The steps, the last one going on to the dense model's cost."""
    if steps.costs:
        ax.step([*steps.costs, 1.0], [*steps.scores, steps.scores[-1]], where="post", **line)


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure, drawn inside ``style()``, as one ``<svg>`` element to stand in a page.

    Args:
        name: unique in the page: the ids of its parts begin with it.
        alt: what it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)


def standalone(svg: str) -> str:
    """The same as the content of a file."""
    start = svg.index(">") + 1
    return f"{svg[:start]}{_STANDALONE}{svg[start:]}"
