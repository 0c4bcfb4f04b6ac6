"""The smallest compute at which a method is no worse than the dense model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.report.best import method_stages
from bench.report.draws import NO_ITEMS, ItemDraws
from bench.report.grid import Grid, grid_of
from bench.results.points import Points
from bench.stats.estimates import Estimate, least_cost_no_worse, sign_of


@dataclass(frozen=True)
class UndiminishedRow:
    """How small a method gets without loss: shares of the dense MACs, infinite where no point is as good.

    Attributes:
        method: its name.
        stage: in-training, post-hoc or control.
        dev: where scores on dev decide; without interval, as dev chose the points.
        evals: where scores on eval decide.
        theoretical: the same if zeros cost nothing.
    """

    method: str
    stage: str
    dev: float
    evals: Estimate
    theoretical: Estimate


def undiminished_rows(points: Points, draws: ItemDraws = NO_ITEMS) -> list[UndiminishedRow]:
    """One row for each method: the least executed share of the dense MACs at which its mean score is no worse.

    Means over the seeds of a chosen point are compared with the mean of the dense model that was trained for as many
    steps, with the same seeds; a point one of whose seeds failed or missed its budget does not count. Left out: methods
    without a finished run that shares a seed with the dense model. Empty without a dense model.
    """
    rows = []
    for method, stage in method_stages(points).items():
        if method == "dense":
            continue
        grid = grid_of(points, [method, "dense"], draws)
        if grid is None or set(grid.methods) != {method, "dense"}:
            continue
        own, dense = grid.of(method), grid.of("dense")
        if np.isfinite(dense.evals).all():
            rows.append(_row(points, method, stage, own, dense))
    return rows


def _row(points: Points, method: str, stage: str, own: Grid, dense: Grid) -> UndiminishedRow:
    sign = sign_of(points.metric)
    on_dev = least_cost_no_worse(own.macs_ratio, own.dev, dense.dev[:, 0], sign=sign)
    on_eval, if_free = (
        least_cost_no_worse(
            *(costs, own.evals, dense.evals[:, 0]), sign=sign, redrawn=own.items, level_redrawn=dense.items
        )
        for costs in (own.macs_ratio, own.effective_macs_ratio)
    )
    return UndiminishedRow(method, stage, on_dev.value, on_eval, if_free)
