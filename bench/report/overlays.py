"""What the compute front shows besides the points of the run: the best possible scores, and published ones."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.excess import best_possible_steps
from bench.report.published import drawn_points
from bench.report.svg import FAINT, INK
from bench.results.points import Points

#: hollow, so that nobody takes them for points of the run
_MARKERS = "osDv^P"


def relative_scale(points: Points) -> bool:
    """Whether scores are drawn on a logarithmic axis: the same excess over the best possible is the same distance."""
    scores = points.table[points.eval_column].dropna().astype(float)
    steps = best_possible_steps(points)
    return len(steps) > 0 and bool((steps["score"] > 0).all() and (scores > 0).all())


def draw_best_possible(ax: Axes, points: Points) -> list[Line2D]:
    """The front that theory gives, over the width of the axes; what lies beyond it, no model can reach."""
    steps = best_possible_steps(points)
    if steps.empty:
        return []
    (low, high), limits = ax.get_xlim(), ax.get_ylim()
    first = max(0, int(steps["share"].searchsorted(low, side="right")) - 1)  # the step that the left edge lies on
    inside = steps.iloc[first:].assign(share=lambda table: table["share"].clip(lower=low))
    line = ax.step(inside["share"], inside["score"], where="post", color=INK, linewidth=1.5, label="best possible")[0]
    unreachable = limits[0] if points.metric.direction == "minimize" else limits[1]
    ax.fill_between(inside["share"], inside["score"], unreachable, step="post", color=INK, alpha=0.07, linewidth=0)
    ax.set(xlim=(low, high), ylim=limits)
    return [line]


def draw_published(ax: Axes, points: Points) -> list[Line2D]:
    """Published scores against the compute as a share of the published dense model, one kind of marker a method."""
    handles = []
    table = drawn_points(points)
    for (method, rows), marker in zip(
        table.groupby("method", sort=False) if len(table) else (), _MARKERS, strict=False
    ):
        look: dict[str, Any] = {
            "color": FAINT,
            "marker": marker,
            "linestyle": "none",
            "markerfacecolor": "none",
            "markersize": 6,
        }
        ax.plot(rows["share"], rows["score"], **look)
        label = f"published on {rows['data'].iloc[0]}: {str(method).replace('_', ' ')}"
        handles.append(Line2D([], [], **look, label=label))
    return handles
