"""The figures of the report: fronts on one cost axis each, and the breakdown of the eval score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.report.chosen import chosen_points, counts
from bench.report.looks import Look, legend, looks_of
from bench.report.numbers import percent, short, title, unit
from bench.report.overlays import draw_best_possible, draw_published, relative_scale
from bench.report.surfaces import bands, crowded, draw_band
from bench.report.svg import INK, blank_figure, style, to_svg
from bench.results.points import Points
from bench.stats.fronts import AttainmentBand

_WORST: Any = {"color": INK, "marker": "x", "linestyle": "none", "markersize": 6}


@dataclass(frozen=True)
class CostAxis:
    """What a front is drawn against.

    Attributes:
        column: of the chosen points.
        label: what the axis says.
        theoretical: column of the cost that counts zeros as free, drawn with hollow markers; None if there is none.
        share: whether it is a share of the dense model.
    """

    column: str
    label: str
    theoretical: str | None = None
    share: bool = True


AXES = (
    CostAxis("macs_ratio", "compute: MACs, share of the dense model", "effective_macs_ratio"),
    CostAxis("latency_ratio", "latency, share of the dense model's"),
    CostAxis("size_bytes", "size of the exported file", share=False),
)


def front_figure(points: Points, axis: CostAxis) -> str | None:
    """The eval score of every chosen point against a cost, one line a method; None if there is nothing to draw."""
    table = chosen_points(points)
    table = table[table[points.eval_column].notna() & (table[axis.column] > 0)]
    if table.empty:
        return None
    with style():
        figure = blank_figure(6.6, 4.1 + 0.11 * table["method"].nunique())
        ax: Axes = figure.add_subplot()
        ax.set_xscale("log", base=2)
        if relative_scale(points):
            ax.set_yscale("log")
        handles, banded = [], _bands(points, axis)
        for rows, look in looks_of(table):
            band = banded.get(str(rows["method"].iloc[0]))
            _draw_method(ax, points, axis, rows, look, banded=band is not None)
            if band is not None:
                draw_band(ax, band, look.line)
            handles.append(look.key())
        if not counts(table).all():
            handles.append(Line2D([], [], **_WORST, label="a seed failed or missed the budget"))
        if axis.theoretical and table["unstructured"].any():
            handles.append(_hollow_key())
        if (dense := _dense_level(points, table)) is not None:
            line = ax.axhline(dense, color=INK, linewidth=1, alpha=0.6)
            line.set_label("dense model's level")
            handles.append(line)
        if axis.column == "macs_ratio":
            handles += (others := draw_published(ax, points))
            figure.set_figheight(figure.get_figheight() + 0.11 * len(others))
            handles += draw_best_possible(ax, points)
        _finish_axes(ax, points, axis)
        legend(figure, handles)
        return to_svg(figure, axis.column.replace("_", "-"), f"{title(points.metric)} on eval against {axis.label}")


def breakdown_table(points: Points) -> pd.DataFrame:
    """The parts of the headline score on eval (by attack, by noise level): chosen points by parts, mean over seeds."""
    prefix = f"{points.metric.column}/"
    chosen = points.table[points.table["chosen"].astype(bool)]
    parts = {
        key: {name.removeprefix(prefix): value for name, value in scores.items() if name.startswith(prefix)}
        for key, scores in points.eval_scores.items()
    }
    rows = [
        {"method": row["method"], "trial": row["trial"], **parts.get(row["key"], {})} for _, row in chosen.iterrows()
    ]
    means = pd.DataFrame(rows, columns=["method", "trial", *sorted({p for part in parts.values() for p in part})])
    means = means.astype(dict.fromkeys(means.columns[2:], float)).groupby(["method", "trial"]).mean()
    order = [(row["method"], row["trial"]) for _, row in chosen_points(points).iterrows()]
    return means.reindex(pd.MultiIndex.from_tuples(order, names=["method", "trial"])).dropna(how="all")


def breakdown_figure(points: Points) -> str | None:
    """The parts of the score as a heat map: one row a chosen point; None if the task has no parts."""
    table = breakdown_table(points)
    if table.empty or not len(table.columns):
        return None
    budgets = chosen_points(points).set_index(["method", "trial"])["budget"]
    labels = [f"{key[0]}  {percent(budgets[key])}".rstrip() for key in table.index]
    with style():
        cell = max(0.52, 0.2 + 0.08 * max(len(part) for part in table.columns))
        width = 1.3 + 0.075 * max(map(len, labels)) + cell * len(table.columns)
        figure = blank_figure(width, max(2.8, 1.1 + 0.26 * len(table)))
        ax: Axes = figure.add_subplot()
        sns.heatmap(
            table,
            ax=ax,
            annot=True,
            fmt=".0f" if points.metric.unit == "percent" else ".2g",
            annot_kws={"size": 9},
            cmap="viridis_r" if points.metric.direction == "minimize" else "viridis",
            cbar_kws={"label": f"{title(points.metric)} on eval ({unit(points.metric)})", "pad": 0.01},
            yticklabels=labels,
            linewidths=0.5,
            linecolor="none",
        )
        ax.set(xlabel="", ylabel="")
        ax.tick_params(length=0, labelrotation=0)
        ax.xaxis.tick_top()
        return to_svg(figure, "breakdown", f"parts of the {title(points.metric)} on eval, by chosen point")


def _draw_method(ax: Axes, points: Points, axis: CostAxis, rows: pd.DataFrame, look: Look, *, banded: bool) -> None:
    """The points of one method, joined by a line unless steps are drawn; crosses are what counts as worst."""
    rows = rows.sort_values(axis.column)
    worst = rows[~counts(rows)]
    ax.plot(worst[axis.column], worst[points.eval_column], **_WORST)
    rows = rows[counts(rows)]
    spared = rows[rows["unstructured"]]
    line = look.line if spared.empty and not banded else {**look.line, "linestyle": "none"}
    ax.plot(rows[axis.column], rows[points.eval_column], **line, markersize=6, linewidth=1.6)
    several, colour = rows[rows["scored"] > 1], look.line["color"]
    if not banded:
        low, high = (several[f"{points.eval_column}_{end}"] for end in ("min", "max"))
        ax.vlines(several[axis.column], low, high, color=colour, linewidth=1.2, alpha=0.7)
    if axis.theoretical and len(spared):
        ideal, level = spared[axis.theoretical], spared[points.eval_column]
        ax.hlines(level, ideal, spared[axis.column], color=colour, linewidth=1, linestyle=(0, (1, 3)))
        ax.plot(ideal, level, **{**look.line, "linestyle": "none"}, markersize=6, markerfacecolor="none")


def _bands(points: Points, axis: CostAxis) -> dict[str, AttainmentBand]:
    """The attainment bands that the figure shows: those of compute, where they do not hide one another."""
    return bands(points) if axis.column == "macs_ratio" and not crowded(points) else {}


def _hollow_key() -> Line2D:
    label = "hollow: if zeros cost nothing"
    return Line2D([], [], color=INK, marker="o", linestyle="none", markerfacecolor="none", label=label)


def _dense_level(points: Points, table: pd.DataFrame) -> float | None:
    dense = table[table["method"] == "dense"]
    return None if dense.empty else float(dense.iloc[0][points.eval_column])


def _finish_axes(ax: Axes, points: Points, axis: CostAxis) -> None:
    better = "lower" if points.metric.direction == "minimize" else "higher"
    low, high = ax.get_xlim()
    if axis.column == "macs_ratio":
        ax.xaxis.set_major_locator(FixedLocator(sorted({*points.index["budgets"], 1.0})))
    else:
        ax.xaxis.set_major_locator(
            LogLocator(base=10, subs=(1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8))
        )
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v) if axis.share else short(v, "B")))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)
    ax.set(xlabel=axis.label, ylabel=f"{title(points.metric)} on eval, {unit(points.metric)} ({better} is better)")
    if relative_scale(points):
        ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
    sns.despine(ax=ax)
