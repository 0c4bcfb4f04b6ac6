"""What the zeros and the smaller widths promise, beside the speed that the runtime delivers."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.report.chosen import chosen_points
from bench.report.looks import legend, looks_of
from bench.report.svg import INK, blank_figure, style, to_svg
from bench.results.points import Points

#: speed-ups by what was timed; a column is left out where nothing has been timed so
TIMED = {
    "latency_ratio": "real speed-up",
    "latency_chunk_ratio": "on a streaming chunk",
    "latency_utterance_ratio": "on a whole utterance",
    "latency_eager_ratio": "in PyTorch eager",
}
#: what is said of the latency itself
LATENCIES = {
    "latency_ms": "CPU ms",
    "latency_wall_ms": "wall-clock ms, median",
    "latency_p95_ms": "wall-clock ms, 95th percentile",
    "latency_spread": "spread of the ratio over repeats",
}


def speedup_table(points: Points) -> pd.DataFrame:
    """One row for each timed chosen point: how many times cheaper and how many times faster than the dense model.

    Columns: method, stage, control, budget; ``executed`` and ``theoretical`` (MACs of the dense model over those
    executed, and over those left without zeros); one for each of ``TIMED`` that was measured; ``realised`` (the share
    of the theoretical speed-up that is real); the latency in ms, and its wall-clock median, 95th percentile and spread.
    """
    table = chosen_points(points)
    table = table[(table["latency_ratio"] > 0) & (table["effective_macs_ratio"] > 0)].reset_index(drop=True)
    found = table[["method", "stage", "control", "budget"]].copy()
    found["executed"], found["theoretical"] = 1 / table["macs_ratio"], 1 / table["effective_macs_ratio"]
    for column in TIMED:
        if column == "latency_ratio" or (column in table and table[column].notna().any()):
            found[column] = 1 / table[column]
    found["realised"] = found["latency_ratio"] / found["theoretical"]
    for column in LATENCIES:
        if column in table and table[column].notna().any():
            found[column] = table[column]
    return found


def speedup_figure(points: Points) -> str | None:
    """Real against theoretical speed-up, with the diagonal on which they are equal; None if nothing was timed."""
    table = speedup_table(points)
    if table.empty:
        return None
    with style():
        figure = blank_figure(6.6, 4.6 + 0.11 * table["method"].nunique())
        ax: Axes = figure.add_subplot()
        ax.set(xscale="log", yscale="log")
        handles = []
        for rows, look in looks_of(table):
            ax.plot(rows["theoretical"], rows["latency_ratio"], **{**look.line, "linestyle": "none"}, markersize=6)
            handles.append(look.key(joined=False))
        ends = table[["theoretical", "latency_ratio"]].to_numpy()
        low, high = min(1.0, float(ends.min())) * 0.9, float(ends.max()) * 1.1
        handles += ax.plot((low, high), (low, high), color=INK, linewidth=1, alpha=0.6, label="as fast as promised")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"x {v:g}"))
            axis.set_minor_locator(NullLocator())
        ax.set(
            xlabel="theoretical speed-up: dense MACs over non-zero MACs",
            ylabel="real speed-up: dense latency over latency",
        )
        sns.despine(ax=ax)
        legend(figure, handles)
        return to_svg(figure, "speedup", "real against theoretical speed-up")
