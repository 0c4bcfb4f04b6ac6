"""The figures of a report: fronts on one cost each, attainment, speed-up, and the parts of the score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator

from bench.report.cells import in_bytes, percent, title, unit, written
from bench.report.data import ReportData
from bench.report.drawing import (
    FAINT,
    INK,
    Look,
    blank_figure,
    draw_band,
    draw_steps,
    legend,
    looks_of,
    style,
    ticks,
    to_svg,
)
from bench.report.quality import CONTROL

CROWDED = 6  # methods: the bands of more than these would hide one another, so each has a panel of its own
_PANELS = 3  # in a row
_WORST: Any = {"color": INK, "marker": "x", "linestyle": "none", "markersize": 6}
_EMPTY: Any = {"linestyle": "none", "markerfacecolor": "none"}
#: of published points: hollow, so that nobody takes them for points of the comparison
_HOLLOW = "osDv^P"


@dataclass(frozen=True)
class CostAxis:
    """What a front is drawn against: a column of the chosen points, and what the axis says."""

    column: str
    label: str

    @property
    def compute(self) -> bool:
        """Whether it is the share of executed MACs, on which bands, theory and published points are drawn."""
        return self.column == "macs_ratio"


AXES = (
    CostAxis("macs_ratio", "compute: MACs, share of the dense model"),
    CostAxis("latency_ratio", "latency, share of the dense model's"),
    CostAxis("size_bytes", "size of the exported file"),
)


def draw_figures(data: ReportData) -> dict[str, str]:
    """The SVG of every figure that there is something to draw for, by name; the fronts by their cost."""
    drawn = {axis.column: front_figure(data, axis) for axis in AXES}
    others = {"attainment": attainment_figure, "speedup": speedup_figure, "breakdown": breakdown_figure}
    drawn |= {name: draw(data) for name, draw in others.items()}
    return {name: svg for name, svg in drawn.items() if svg is not None}


def front_figure(data: ReportData, axis: CostAxis) -> str | None:
    """The eval score of every chosen point against a cost, one line a method; None if there is nothing to draw."""
    table = data.chosen[data.chosen["eval"].notna() & (data.chosen[axis.column] > 0)]
    if table.empty:
        return None
    bands = data.bands if axis.compute and not _crowded(data) else {}
    with style():
        figure = blank_figure(6.6, 4.1 + 0.11 * table["method"].nunique())
        ax: Axes = figure.add_subplot()
        ax.set_xscale("log", base=2)
        if _relative(data):
            ax.set_yscale("log")
        handles = []
        for method, rows, look in looks_of(data.chosen, table):
            _draw_method(ax, axis, rows, look, banded=method in bands)
            if method in bands:
                draw_band(ax, bands[method], look)
            handles.append(look.key())
        if not table["valid"].all():
            handles.append(Line2D([], [], **_WORST, label="a seed failed or missed the budget"))
        handles += _references(ax, data, axis, table)
        figure.set_figheight(figure.get_figheight() + 0.11 * sum("published" in str(h.get_label()) for h in handles))
        _finish(ax, data, axis)
        legend(figure, handles)
        return to_svg(figure, axis.column.replace("_", "-"), f"{title(data.metric)} on eval against {axis.label}")


def _draw_method(ax: Axes, axis: CostAxis, rows: pd.DataFrame, look: Look, *, banded: bool) -> None:
    """The points of one method, joined by a line unless steps are drawn; crosses are what counts as worst."""
    rows = rows.sort_values(axis.column)
    worst, rows = rows[~rows["valid"]], rows[rows["valid"]]
    ax.plot(worst[axis.column], worst["eval"], **_WORST)
    spared = rows[rows["unstructured"]]
    line = look.points if banded or len(spared) else look.line
    ax.plot(rows[axis.column], rows["eval"], **line, markersize=6, linewidth=1.6)
    several, colour = rows[rows["scored"] > 1], look.line["color"]
    if not banded:
        ends = several["eval_min"], several["eval_max"]
        ax.vlines(several[axis.column], *ends, color=colour, linewidth=1.2, alpha=0.7)
    if axis.compute and len(spared):
        ideal, level = spared["effective_macs_ratio"], spared["eval"]
        ax.hlines(level, ideal, spared[axis.column], color=colour, linewidth=1, linestyle=(0, (1, 3)))
        ax.plot(ideal, level, **look.points, markersize=6, markerfacecolor="none")


def _references(ax: Axes, data: ReportData, axis: CostAxis, table: pd.DataFrame) -> list[Line2D]:
    """What the points are seen against, as entries of the legend."""
    handles = []
    if axis.compute and table["unstructured"].any():
        handles.append(Line2D([], [], color=INK, marker="o", **_EMPTY, label="hollow: if zeros cost nothing"))
    if len(dense := table.loc[table["method"] == "dense", "eval"]):
        label = "dense model's level"
        handles.append(ax.axhline(float(dense.iloc[0]), color=INK, linewidth=1, alpha=0.6, label=label))
    if axis.compute:
        handles += [*_draw_published(ax, data.published_drawn), *_draw_theory(ax, data)]
    return handles


def _draw_published(ax: Axes, table: pd.DataFrame) -> list[Line2D]:
    """Published scores against the compute as a share of the published dense model, one kind of marker a method."""
    handles = []
    groups = table.groupby("method", sort=False) if len(table) else ()
    for (method, rows), marker in zip(groups, _HOLLOW, strict=False):
        label = f"published on {rows['data'].iloc[0]}: {str(method).replace('_', ' ')}"
        look: dict[str, Any] = {"color": FAINT, "marker": marker, "markersize": 6, "label": label}
        handles += ax.plot(rows["share"], rows["score"], **look, **_EMPTY)
    return handles


def _draw_theory(ax: Axes, data: ReportData) -> list[Line2D]:
    """The front that theory gives, over the width of the axes; what lies beyond it, no model can reach."""
    if (steps := data.theory).empty:
        return []
    (low, high), ends = ax.get_xlim(), ax.get_ylim()
    first = max(0, int(steps["share"].searchsorted(low, side="right")) - 1)  # the step that the left edge lies on
    inside = steps.iloc[first:].assign(share=lambda table: table["share"].clip(lower=low))
    line = ax.step(inside["share"], inside["score"], where="post", color=INK, linewidth=1.5, label="best possible")[0]
    unreachable = ends[0] if data.sign == 1 else ends[1]
    ax.fill_between(inside["share"], inside["score"], unreachable, step="post", color=INK, alpha=0.07, linewidth=0)
    ax.set(xlim=(low, high), ylim=ends)
    return [line]


def _relative(data: ReportData) -> bool:
    """Whether scores are drawn on a logarithmic axis: the same excess over the best possible is the same distance."""
    scores = data.points.table[data.points.eval_column].dropna().astype(float)
    return len(data.theory) > 0 and bool((data.theory["score"] > 0).all() and (scores > 0).all())


def _crowded(data: ReportData) -> bool:
    """Whether there are too many methods to draw all bands into one figure."""
    return data.chosen.loc[data.chosen["kind"] != "control", "method"].nunique() > CROWDED


def _finish(ax: Axes, data: ReportData, axis: CostAxis) -> None:
    better = "lower" if data.sign == 1 else "higher"
    low, high = ax.get_xlim()
    subs = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    places = FixedLocator(sorted({*data.budgets, 1.0})) if axis.compute else LogLocator(base=10, subs=subs)
    ticks(ax.xaxis, places, in_bytes if axis.column == "size_bytes" else percent)
    ax.set_xlim(low, high)
    ax.set(xlabel=axis.label, ylabel=f"{title(data.metric)} on eval, {unit(data.metric)} ({better} is better)")
    if _relative(data):
        ticks(ax.yaxis, LogLocator(base=10, subs=(1, 2, 5)), written("g"))
    sns.despine(ax=ax)


def attainment_figure(data: ReportData) -> str | None:
    """One panel a method, where so many methods are compared that their bands would hide one another; else None."""
    banded = data.chosen[data.chosen["method"].isin([*data.bands]) & (data.chosen["kind"] != "control")]
    drawn = list(looks_of(data.chosen, banded))
    if data.reference is None or not _crowded(data) or not drawn:
        return None
    rows_needed = math.ceil(len(drawn) / _PANELS)
    with style():
        height = 0.7 + 1.9 * rows_needed
        figure = blank_figure(10.4, height)
        figure.set_layout_engine(None)  # that of other figures takes a second for so many panels
        figure.subplots_adjust(0.07, 0.6 / height, 0.99, 1 - 0.3 / height, wspace=0.12, hspace=0.3)
        axes = figure.subplots(rows_needed, _PANELS, sharex=True, sharey=True, squeeze=False)
        for ax in axes.flat[len(drawn) :]:
            ax.set_visible(False)
        for ax, (method, rows, look) in zip(axes.flat, drawn, strict=False):
            _panel(ax, data)
            draw_band(ax, data.bands[method], look)
            ax.plot(rows["macs_ratio"], rows["eval"], **look.points, markersize=3.5)
            ax.set_title(look.label, fontsize=9)
        # one scale for all panels: the budgets, and the scores that are attained
        ticks(axes[0, 0].xaxis, FixedLocator(sorted({*(b for b in data.budgets if b <= 1), 1.0})), percent)
        cheapest = min(band.best.costs[0] for band in data.bands.values())
        axes[0, 0].set_xlim(max(data.reference.cheapest, 0.8 * cheapest), 1.08)
        figure.supxlabel("compute: MACs, share of the dense model", fontsize=10)
        figure.supylabel(f"{title(data.metric)} on eval, {unit(data.metric)}", fontsize=10)
        return to_svg(figure, "attainment", f"median attainment surfaces of {title(data.metric)} against compute")


def _panel(ax: Axes, data: ReportData) -> None:
    """What every panel shows for reference: the dense model's level and the control."""
    ax.set_xscale("log", base=2)
    ax.tick_params(labelsize=9)
    if len(dense := data.chosen.loc[data.chosen["method"] == "dense", "eval"]):
        ax.axhline(float(dense.iloc[0]), color=INK, linewidth=1, alpha=0.6)
    if (control := data.bands.get(CONTROL)) is not None:
        draw_steps(ax, control.median, color=FAINT, linestyle=":", linewidth=1.4)
    sns.despine(ax=ax)


def speedup_figure(data: ReportData) -> str | None:
    """Real against theoretical speed-up, with the diagonal on which they are equal; None if nothing was timed."""
    if (table := data.speedup).empty:
        return None
    with style():
        figure = blank_figure(6.6, 4.6 + 0.11 * table["method"].nunique())
        ax: Axes = figure.add_subplot()
        ax.set(xscale="log", yscale="log")
        handles = []
        for _, rows, look in looks_of(data.chosen, table):
            ax.plot(rows["theoretical"], rows["latency_ratio"], **look.points, markersize=6)
            handles.append(look.key(joined=False))
        ends = table[["theoretical", "latency_ratio"]].to_numpy()
        low, high = min(1.0, float(ends.min())) * 0.9, float(ends.max()) * 1.1
        handles += ax.plot((low, high), (low, high), color=INK, linewidth=1, alpha=0.6, label="as fast as promised")
        for axis in (ax.xaxis, ax.yaxis):
            ticks(axis, LogLocator(base=10, subs=(1, 2, 5)), written("g", "x "))
        ax.set_xlabel("theoretical speed-up: dense MACs over non-zero MACs")
        ax.set_ylabel("real speed-up: dense latency over latency")
        sns.despine(ax=ax)
        legend(figure, handles)
        return to_svg(figure, "speedup", "real against theoretical speed-up")


def breakdown_figure(data: ReportData) -> str | None:
    """The parts of the score as a heat map: one row a chosen point; None if the task has no parts."""
    table = data.breakdown
    if table.empty or not len(table.columns):
        return None
    labels = [f"{method}  {percent(budget)}".rstrip() for method, budget in table.index]
    with style():
        cell = max(0.52, 0.2 + 0.08 * max(len(part) for part in table.columns))
        width = 1.3 + 0.075 * max(map(len, labels)) + cell * len(table.columns)
        figure = blank_figure(width, max(2.8, 1.1 + 0.26 * len(table)))
        ax: Axes = figure.add_subplot()
        numbers = {"annot": True, "fmt": ".0f" if data.metric.unit == "percent" else ".2g", "annot_kws": {"size": 9}}
        numbers["cmap"] = "viridis_r" if data.sign == 1 else "viridis"
        bar = {"label": f"{title(data.metric)} on eval ({unit(data.metric)})", "pad": 0.01}
        sns.heatmap(table, ax=ax, **numbers, cbar_kws=bar, yticklabels=labels, linewidths=0.5, linecolor="none")
        ax.set(xlabel="", ylabel="")
        ax.tick_params(length=0, labelrotation=0)
        ax.xaxis.tick_top()
        return to_svg(figure, "breakdown", f"parts of the {title(data.metric)} on eval, by chosen point")
