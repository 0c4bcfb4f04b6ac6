"""The figures of a report about speed: what is real of it, where the time goes, and how well it was predicted."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, PercentFormatter

from bench.report.cells import percent, written
from bench.report.data import ReportData
from bench.report.drawing import INK, blank_figure, legend, looks_of, style, ticks, to_svg
from bench.report.pointing import mark
from bench.widths import IN_WORDS


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
            mark(ax, rows, "theoretical", "latency_ratio")
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


def prediction_figure(data: ReportData) -> str | None:
    """Measured against predicted costs of models, with the diagonal; None where costs are counted, not predicted."""
    told = {made: pairs for made, pairs in data.index.get("predicted", {}).items() if pairs}
    if not told:
        return None
    with style():
        figure = blank_figure(5.6, 4.9)
        ax: Axes = figure.add_subplot()
        ax.set(xscale="log", yscale="log")
        handles = [
            ax.plot(*zip(*pairs, strict=True), "o", color=colour, markersize=4.5, alpha=0.7, label=made)[0]
            for (made, pairs), colour in zip(told.items(), sns.color_palette("colorblind", len(told)), strict=True)
        ]
        ends = [value for pairs in told.values() for pair in pairs for value in pair]
        low, high = min(ends) * 0.9, max(ends) * 1.1
        handles += ax.plot((low, high), (low, high), color=INK, linewidth=1, alpha=0.6, label="as predicted")
        for axis in (ax.xaxis, ax.yaxis):
            ticks(axis, LogLocator(base=10, subs=(1, 2, 5)), percent)
        cost = IN_WORDS[data.points.cost]
        ax.set(xlabel=f"predicted {cost}, share of the dense model's", ylabel=f"measured {cost}")
        sns.despine(ax=ax)
        legend(figure, handles)
        return to_svg(figure, "prediction", f"measured against predicted {cost}")


def layers_figure(data: ReportData) -> str | None:
    """Where the time goes: a bar for each chosen point, cut into parts of the network; None if none was timed."""
    if (table := data.layers).empty:
        return None
    labels = [f"{method}  {percent(budget)}".rstrip() for method, budget in table.index]
    with style():
        figure = blank_figure(4.6 + 0.075 * max(map(len, labels)), 1.4 + 0.24 * (len(table) + len(table.columns) / 3))
        ax: Axes = figure.add_subplot()
        before, handles = table.sum(axis=1) * 0.0, []
        for part, colour in zip(table.columns, sns.color_palette("husl", len(table.columns)), strict=True):
            ax.barh(labels, table[part], left=before, color=colour, height=0.75)
            handles += ax.plot([], [], color=colour, linewidth=6, label=part)
            before = before + table[part]
        ax.axvline(1, color=INK, linewidth=1, alpha=0.6)
        ax.set_ylim(len(labels) - 0.4, -0.6)  # the first above, and no room for further ones
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("latency, share of the dense model's")
        sns.despine(ax=ax)
        legend(figure, handles, "outside upper center")  # at a screen's height of bars, nobody would see it below them
        return to_svg(figure, "layers", "latency by part of the network, of every chosen point")
