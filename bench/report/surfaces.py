"""The median attainment surface of each method, with its band over seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.report.chosen import chosen_points
from bench.report.grid import seed_runs
from bench.report.looks import looks_of
from bench.report.numbers import percent, title, unit
from bench.report.svg import FAINT, INK, blank_figure, style, to_svg
from bench.results.points import Points
from bench.stats.fronts import AttainmentBand, Reference, Steps, attainment_band, reference_for

CROWDED = 6  # methods: more than these are told apart in panels of their own
CONTROL = "uniform_width"
_COLUMNS = 3


def bands(points: Points) -> dict[str, AttainmentBand]:
    """The attainment band of every method with two seeds or more that attains anything; none without a frozen box."""
    reference = reference_for(points.metric)
    if reference is None:
        return {}
    found = {
        m: attainment_band(list(runs.values()), reference) for m, runs in seed_runs(points).items() if len(runs) > 1
    }
    return {method: band for method, band in found.items() if band.best.costs}


def how_banded(points: Points) -> str:
    """What line and band are, in a sentence; empty without bands."""
    found = list(bands(points).values())
    if not found:
        return ""
    seeds = min(band.n for band in found)
    share = "the middle half of the seeds" if found[0].shares != (0.0, 1.0) else "the best to the worst seed"
    return (
        f"Steps: what half of the seeds attain at each cost (median attainment surface, at least {seeds} seeds); "
        f"band: from {share}. Both are cut at the frozen box and drawn over the chosen points."
    )


def draw_band(ax: Axes, band: AttainmentBand, look: dict[str, Any]) -> None:
    """The band and the median of one method, up to the dense model's cost.

    Args:
        ax: with a cost that is a share of the dense model's.
        band: what to draw.
        look: colour and line style.
    """
    colour, costs = look["color"], np.array(sorted({*band.best.costs, *band.worst.costs, 1.0}))
    best, worst = ([steps.at(cost) for cost in costs] for steps in (band.best, band.worst))
    both = np.isfinite(best) & np.isfinite(worst)  # where no seed or not every seed attains anything, there is no band
    if both.any():
        low, high = (np.where(both, values, 0.0) for values in (best, worst))
        ax.fill_between(costs, low, high, where=both.tolist(), step="post", color=colour, alpha=0.18, linewidth=0)
    if band.median.costs:
        ax.step(*_to_dense(band.median), where="post", color=colour, linestyle=look["linestyle"], linewidth=1.6)


def attainment_figure(points: Points) -> str | None:
    """One panel a method, for comparisons of so many methods that their bands would hide one another; else None."""
    found, reference = bands(points), reference_for(points.metric)
    table = chosen_points(points)
    drawn = [(rows, look) for rows, look in looks_of(table) if str(rows["method"].iloc[0]) in found]
    shown = [(rows, look) for rows, look in drawn if not rows["control"].iloc[0]]
    if reference is None or not crowded(points) or not shown:
        return None
    rows_needed = math.ceil(len(shown) / _COLUMNS)
    with style():
        height = 0.7 + 1.9 * rows_needed
        figure = blank_figure(10.4, height)
        figure.set_layout_engine(None)  # that of other figures takes a second for so many panels
        figure.subplots_adjust(0.07, 0.6 / height, 0.99, 1 - 0.3 / height, wspace=0.12, hspace=0.3)
        axes = figure.subplots(rows_needed, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax, (rows, look) in zip(axes.flat, shown, strict=False):
            method = str(rows["method"].iloc[0])
            _panel(ax, points, table, found.get(CONTROL))
            draw_band(ax, found[method], look.line)
            ax.plot(rows["macs_ratio"], rows[points.eval_column], **{**look.line, "linestyle": "none"}, markersize=3.5)
            ax.set_title(look.label, fontsize=9)
        _scale(axes[0, 0], points, found, reference)
        figure.supxlabel("compute: MACs, share of the dense model", fontsize=10)
        figure.supylabel(f"{title(points.metric)} on eval, {unit(points.metric)}", fontsize=10)
        return to_svg(figure, "attainment", f"median attainment surfaces of {title(points.metric)} against compute")


def crowded(points: Points) -> bool:
    """Whether there are too many methods to draw all bands into one figure."""
    table = chosen_points(points)
    return int(table.loc[~table["control"], "method"].nunique()) > CROWDED


def _panel(ax: Axes, points: Points, table: pd.DataFrame, control: AttainmentBand | None) -> None:
    """What every panel shows for reference: the dense model's level and the control."""
    ax.set_xscale("log", base=2)
    ax.tick_params(labelsize=9)
    dense = table[table["method"] == "dense"]
    if len(dense):
        ax.axhline(float(dense.iloc[0][points.eval_column]), color=INK, linewidth=1, alpha=0.6)
    if control is not None and control.median.costs:
        ax.step(*_to_dense(control.median), where="post", color=FAINT, linestyle=":", linewidth=1.4)
    sns.despine(ax=ax)


def _scale(ax: Axes, points: Points, found: dict[str, AttainmentBand], reference: Reference) -> None:
    """One scale for all panels: the budgets, and the scores that are attained."""
    budgets = [budget for budget in points.index["budgets"] if budget <= 1]
    ax.xaxis.set_major_locator(FixedLocator(sorted({*budgets, 1.0})))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v)))
    ax.xaxis.set_minor_locator(NullLocator())
    cheapest = min(band.best.costs[0] for band in found.values())
    ax.set_xlim(max(reference.cheapest, 0.8 * cheapest), 1.08)


def _to_dense(steps: Steps) -> tuple[list[float], list[float]]:
    """The steps, the last one going on to the dense model's cost."""
    return [*steps.costs, 1.0], [*steps.scores, steps.scores[-1]]
