"""Figures as SVG text: the same bytes on every build, readable on a light and on a dark page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: stands for the text colour of the page, which matplotlib cannot name
INK = "#010203"
FAINT = "#808890"

_STYLE: Any = {  # matplotlib types every key on its own
    "svg.fonttype": "none",  # text stays text: small, searchable
    "svg.hashsalt": "compression-bench",
    "text.parse_math": False,  # a `$` in a method's name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}

# a file of its own has no page to take the colour from
_STANDALONE = "<style>svg{color:#1c2024}@media(prefers-color-scheme:dark){svg{color:#e4e7ea}}</style>"


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


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as one ``<svg>`` element to stand in a page.

    Args:
        figure: the figure, drawn inside ``style()``.
        name: unique in the page: the ids of its parts begin with it.
        alt: what it shows, for those who cannot see it; must be free of markup.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)


def standalone(svg: str) -> str:
    """The same as the content of a file."""
    start = svg.index(">") + 1
    return f"{svg[:start]}{_STANDALONE}{svg[start:]}"
