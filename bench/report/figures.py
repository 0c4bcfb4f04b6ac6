"""The figures of a report: fronts on one cost each, attainment, and the parts of the score; all of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator

from bench.report.attribution import PARTS
from bench.report.cells import in_bytes, percent, unit, written
from bench.report.data import ReportData
from bench.report.drawing import (
    DASHES,
    FAINT,
    INK,
    Look,
    blank_figure,
    camp_colours,
    draw_band,
    draw_steps,
    legend,
    looks_of,
    style,
    ticks,
    to_svg,
)
from bench.report.pointing import linked, mark
from bench.report.quality import CONTROL
from bench.report.speed_figures import layers_figure, prediction_figure, speedup_figure
from bench.results.selection import COST, SPARED

_PANELS = 3  # in a row
BEYOND = 1.75  # times the upper quartile of the scores: not drawn to scale
_WORST: Any = {"color": INK, "marker": "x", "linestyle": "none", "markersize": 6}
#: of one seed, and of a point beyond the upper end of the axis
_FAINT_DOTS: Any = {"marker": ".", "linestyle": "none", "markersize": 3.5, "alpha": 0.45}
_EDGE: Any = {"color": INK, "marker": "^", "linestyle": "none", "markersize": 7, "clip_on": False}
_EMPTY: Any = {"linestyle": "none", "markerfacecolor": "none"}
#: of published points: hollow, so that nobody takes them for points of the comparison
_HOLLOW = "osDv^P"


@dataclass(frozen=True)
class CostAxis:
    """What a front is drawn against: a column of the chosen points, and what the axis says."""

    column: str
    label: str

    @property
    def budgeted(self) -> bool:
        """Whether it is the one that budgets are in, on which bands are drawn."""
        return self.column == COST


#: what budgets may be in
BUDGETED = {
    "macs": CostAxis(COST, "compute: MACs, share of the dense model"),
    "bytes": CostAxis(COST, "size of the exported file, share of the dense model's"),
    "latency": CostAxis(COST, "latency, share of the dense model's"),
    "memory": CostAxis(COST, "peak memory of activations, share of the dense model's"),
}
#: what a front is drawn against, too, unless budgets are in it
AXES = {
    "macs": replace(BUDGETED["macs"], column="macs_ratio"),
    "latency": replace(BUDGETED["latency"], column="latency_ratio"),
    "bytes": CostAxis("size_bytes", "size of the exported file"),
    "memory": CostAxis("memory_bytes", "activations that are alive at the same time, at most"),
    "bops": CostAxis("bops_ratio", "bit operations, share of the dense model's (simulated where marked so)"),
}


def draw_figures(data: ReportData) -> dict[str, str]:
    """The SVG of every figure that there is something to draw for, by name; the fronts by their cost."""
    axes = [BUDGETED[data.points.cost], *(axis for cost, axis in AXES.items() if cost != data.points.cost)]
    drawn = {axis.column: front_figure(data, axis) for axis in axes}
    others = {"attribution": attribution_figure, "attainment": attainment_figure}
    others |= {"speedup": speedup_figure, "layers": layers_figure, "prediction": prediction_figure}
    others |= {"breakdown": breakdown_figure}
    drawn |= {name: draw(data) for name, draw in others.items()}
    return {name: linked(svg, data) for name, svg in drawn.items() if svg is not None}


def front_figure(data: ReportData, axis: CostAxis) -> str | None:
    """The eval score of every chosen point against a cost, one line a method; None if there is nothing to draw."""
    table = data.chosen[data.chosen["eval"].notna() & (data.chosen[axis.column] > 0)]
    if table.empty or (axis.column == "bops_ratio" and not table["simulated"].any()):
        return None
    seeds = data.models[data.models["eval"].notna() & data.models[axis.column].notna()]
    with style():
        figure = blank_figure(6.6, 4.1 + 0.11 * table["method"].nunique())
        ax: Axes = figure.add_subplot()
        ax.set_xscale("log", base=2)
        if _relative(data):
            ax.set_yscale("log")
        handles = []
        for method, rows, look in looks_of(data.chosen, table):
            own = seeds[seeds["method"] == method]
            ax.plot(own[axis.column], own["eval"], color=look.line["color"], **_FAINT_DOTS)
            _draw_method(ax, axis, rows, look)
            handles.append(look.key())
        for kind, band in data.camp_bands.items() if axis.budgeted else ():
            colour = camp_colours(kind, 1)[0]
            draw_band(ax, band, colour, DASHES[kind], width=2.4)
            handles += ax.plot([], [], color=colour, linestyle=DASHES[kind], linewidth=2.4, label=f"all {kind}")
        _clip(ax, axis, data, table, seeds)
        if not table["valid"].all():
            handles.append(Line2D([], [], **_WORST, label="a seed failed or missed the budget"))
        mark(ax, table.assign(eval=table["eval"].clip(*sorted(ax.get_ylim()))), axis.column, "eval")
        handles += _references(ax, data, axis, table)
        figure.set_figheight(figure.get_figheight() + 0.11 * sum("published" in str(h.get_label()) for h in handles))
        _finish(ax, data, axis)
        legend(figure, handles)
        return to_svg(figure, axis.column.replace("_", "-"), f"{data.metric.title} on eval against {axis.label}")


def _draw_method(ax: Axes, axis: CostAxis, rows: pd.DataFrame, look: Look) -> None:
    """The points of one method, joined by a line; crosses are what counts as worst."""
    rows = rows.sort_values(axis.column)
    worst, rows = rows[~rows["valid"]], rows[rows["valid"]]
    ax.plot(worst[axis.column], worst["eval"], **_WORST)
    spared = rows[rows["unstructured"]]
    ax.plot(rows[axis.column], rows["eval"], **(look.points if len(spared) else look.line), markersize=6, linewidth=0.9)
    if axis.budgeted and len(spared):
        ideal, level, colour = spared[SPARED], spared["eval"], look.line["color"]
        ax.hlines(level, ideal, spared[axis.column], color=colour, linewidth=1, linestyle=(0, (1, 3)))
        ax.plot(ideal, level, **look.points, markersize=6, markerfacecolor="none")


def _clip(ax: Axes, axis: CostAxis, data: ReportData, table: pd.DataFrame, seeds: pd.DataFrame) -> None:
    """Let no collapsed point or seed set the scale: what lies far beyond the others is marked at the edge."""
    scores = table["eval"].astype(float)
    limit = BEYOND * float(scores[table["valid"]].quantile(0.75)) if table["valid"].any() else math.inf
    beyond, strays = table[scores > limit], seeds[seeds["eval"].astype(float) > limit]
    if data.sign == 1 and limit > 0 and len(beyond) + len(strays):
        ax.set_ylim(top=limit)
        ax.plot(beyond[axis.column], [limit] * len(beyond), **_EDGE)
        ax.plot(strays[axis.column], [limit] * len(strays), **{**_EDGE, "markersize": 3, "alpha": 0.45})


def _references(ax: Axes, data: ReportData, axis: CostAxis, table: pd.DataFrame) -> list[Line2D]:
    """What the points are seen against, as entries of the legend."""
    handles = []
    if axis.budgeted and table["unstructured"].any():
        handles.append(Line2D([], [], color=INK, marker="o", **_EMPTY, label="hollow: if zeros cost nothing"))
    if len(dense := table.loc[table["method"] == "dense", "eval"]):
        label = "dense model's level"
        handles.append(ax.axhline(float(dense.iloc[0]), color=INK, linewidth=1, alpha=0.6, label=label))
        ends = table.loc[table["method"] == "dense", ["eval_min", "eval_max"]].iloc[0]
        ax.axhspan(float(ends["eval_min"]), float(ends["eval_max"]), color=INK, alpha=0.06, linewidth=0)
    if axis.budgeted and data.points.cost == "macs":
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
    """Whether scores are drawn on a logarithmic axis, where the same factor is the same distance: error rates are."""
    scores = data.points.table[data.points.eval_column].dropna().astype(float)
    if scores.nunique() < 2:  # Matplotlib rounds the limits of one value to a span of nothing, for some values
        return False
    known = len(data.theory) == 0 or bool((data.theory["score"] > 0).all())
    return data.metric.unit == "percent" and data.sign == 1 and known and bool((scores > 0).all())


def _finish(ax: Axes, data: ReportData, axis: CostAxis) -> None:
    better = "lower" if data.sign == 1 else "higher"
    low, high = ax.get_xlim()
    subs = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    places = FixedLocator(sorted({*data.budgets, 1.0})) if axis.budgeted else LogLocator(base=10, subs=subs)
    ticks(ax.xaxis, places, in_bytes if axis.column.endswith("_bytes") else percent)
    ax.set_xlim(low, high)
    ax.set(xlabel=axis.label, ylabel=f"{data.metric.title} on eval, {unit(data.metric)} ({better} is better)")
    if _relative(data):
        low, high = ax.get_ylim()
        steps = (1, 1.5, 2, 3, 5, 7) if high / low > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        ticks(ax.yaxis, LogLocator(base=10, subs=steps), written("g"))
    sns.despine(ax=ax)


def attainment_figure(data: ReportData) -> str | None:
    """One panel a method, whose bands would hide one another in one; None without bands."""
    banded = data.chosen[data.chosen["method"].isin([*data.bands]) & (data.chosen["kind"] != "control")]
    drawn = list(looks_of(data.chosen, banded))
    if data.reference is None or not drawn:
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
            draw_band(ax, data.bands[method], look.line["color"], look.line["linestyle"])
            ax.plot(rows[COST], rows["eval"], **look.points, markersize=3.5)
            mark(ax, rows, COST, "eval")
            ax.set_title(look.label, fontsize=9)
        # one scale for all panels: the budgets, and the scores that are attained
        ticks(axes[0, 0].xaxis, FixedLocator(sorted({*(b for b in data.budgets if b <= 1), 1.0})), percent)
        cheapest = min(band.best.costs[0] for band in data.bands.values())
        axes[0, 0].set_xlim(max(data.reference.cheapest, 0.8 * cheapest), 1.08)
        figure.supxlabel(BUDGETED[data.points.cost].label, fontsize=10)
        figure.supylabel(f"{data.metric.title} on eval, {unit(data.metric)}", fontsize=10)
        return to_svg(
            figure,
            "attainment",
            f"median attainment surfaces of {data.metric.title} against {BUDGETED[data.points.cost].label}",
        )


def _panel(ax: Axes, data: ReportData) -> None:
    """What every panel shows for reference: the dense model's level and the control."""
    ax.set_xscale("log", base=2)
    ax.tick_params(labelsize=9)
    if len(dense := data.chosen.loc[data.chosen["method"] == "dense", "eval"]):
        ax.axhline(float(dense.iloc[0]), color=INK, linewidth=1, alpha=0.6)
    if (control := data.bands.get(CONTROL)) is not None:
        draw_steps(ax, control.median, color=FAINT, linestyle=":", linewidth=1.4)
    sns.despine(ax=ax)


def attribution_figure(data: ReportData) -> str | None:
    """The parts of the gap between the camps as bars with their intervals; None where it could not be split."""
    table = data.attribution[data.attribution["missing"] == ""]
    if table.empty:
        return None
    colours, count = [to_hex(c) for c in sns.color_palette("colorblind", 5)], len(PARTS) + 1
    with style():
        figure = blank_figure(6.6, 3.9)
        ax: Axes = figure.add_subplot()
        handles = []
        for place, (part, name) in enumerate({"gap": "the gap", **PARTS}.items()):
            found = [row[part] for row in table.to_dict("records")]
            at = [group + (place - (count - 1) / 2) * 0.16 for group in range(len(found))]
            ax.bar(at, [e.value for e in found], width=0.14, color=INK if part == "gap" else colours[place], alpha=0.75)
            for x, e in zip(at, found, strict=True):
                ax.vlines(x, e.value if e.low is None else e.low, e.value if e.high is None else e.high, color=INK)
            handles.append(Line2D([], [], color=INK if part == "gap" else colours[place], linewidth=6, label=name))
        ax.axhline(0, color=INK, linewidth=0.8)
        names = ["all budgets" if math.isnan(budget) else f"≤ {percent(budget)}" for budget in table["budget"]]
        ax.set_xticks(range(len(names)), names)
        worth = "points" if data.metric.unit == "percent" else data.metric.unit
        ax.set_ylabel(f"{worth} of {data.metric.title} (above 0: for in-training)")
        sns.despine(ax=ax)
        legend(figure, handles)
        return to_svg(figure, "attribution", "what the gap between in-training and post-hoc is due to")


def breakdown_figure(data: ReportData) -> str | None:
    """The parts of the score as a heat map: one row a chosen point; None if the task has no parts."""
    table = data.breakdown
    if table.empty or not len(table.columns):
        return None
    labels = [f"{method}  {percent(budget)}".rstrip() for method, budget in table.index]
    with style():
        cell = max(0.52, 0.2 + 0.08 * max(len(part) for part in table.columns))
        width = 1.3 + 0.075 * max(map(len, labels)) + cell * len(table.columns)
        figure = blank_figure(width, max(3.6, 1.1 + 0.26 * len(table)))
        ax: Axes = figure.add_subplot()
        numbers = {"annot": True, "fmt": ".0f" if data.metric.unit == "percent" else ".2g", "annot_kws": {"size": 9}}
        numbers["cmap"] = "viridis_r" if data.sign == 1 else "viridis"
        bar = {"label": f"{data.metric.title} on eval ({unit(data.metric)})", "pad": 0.01}
        sns.heatmap(table, ax=ax, **numbers, cbar_kws=bar, yticklabels=False, linewidths=0.5, linecolor="none")
        ax.set_yticks([row + 0.5 for row in range(len(labels))], labels)  # seaborn turns long ones on end first
        ax.set(xlabel="", ylabel="")
        ax.tick_params(length=0, labelrotation=0)
        ax.xaxis.tick_top()
        return to_svg(figure, "breakdown", f"parts of the {data.metric.title} on eval, by chosen point")
