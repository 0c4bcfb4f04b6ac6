"""Which camp is better, at each budget and over all: one of three answers, from camps that had equally many draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.report.quality import CAMPS, Grid, ItemDraws, grid_of
from bench.results.selection import ROUNDING
from bench.stats.estimates import SMALL_IS_GOOD, Array, Estimate, Sign, mean_of
from bench.stats.significance import LEVEL, permutation_test, seeds_to_tell

#: no worse than dense by more than this, in the unit of the metric
MARGIN = 0.5
DRAWS = 200  # of methods from the larger camp, where there are more ways than that to draw them
OUT_OF_SIGHT = 1000  # seeds


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of the camps.

    Attributes:
        budget: share of the dense compute; None for the mean over all budgets.
        gap: by how much in-training is better, in the unit of the metric.
        p: of a paired permutation test; None where so few seeds could never tell.
    """

    budget: float | None
    gap: Estimate
    p: float | None
    spread: float  # standard deviation of the gap between seeds

    @property
    def winner(self) -> str | None:
        """``in-training`` or ``post-hoc``; None if undecided."""
        if self.p is None or self.p > LEVEL or not self.gap.value:
            return None
        return "in-training" if self.gap.value > 0 else "post-hoc"

    @property
    def said(self) -> str:
        """One of three answers."""
        return f"{self.winner} better" if self.winner else "undecided"

    @property
    def seeds_to_decide(self) -> int | None:
        """How many seeds would decide with a probability of 80 % if the truth is what was seen; None: out of sight."""
        needed = seeds_to_tell(self.gap.value, self.spread)
        return max(int(needed), self.gap.n + 1) if needed < OUT_OF_SIGHT else None


@dataclass(frozen=True)
class Verdicts:
    """Those of a comparison.

    Attributes:
        overall: of the mean over the budgets that both camps reached; None if there is none.
        budgets: those of these budgets, largest first.
        contenders: how many methods of each camp took part; the larger camp was drawn from.
        dense: by camp and budget, by how much its best method is worse than dense, in the unit of the metric.
    """

    overall: Verdict | None
    budgets: list[Verdict]
    contenders: Mapping[str, int]
    dense: Mapping[tuple[str, float], Estimate]


def verdicts(counted: pd.DataFrame, kinds: Mapping[str, str], budgets: Sequence[float], sign: Sign) -> Verdicts:
    """Compare the camps seed by seed, each with as many methods as the smaller one has.

    Within a budget a camp is represented by its best point on dev (mean over seeds), read on eval. A camp with more
    methods has more draws of luck: so many of them as the other has are drawn in every possible way (or in ``DRAWS``
    ways), and the gap is the mean over these draws.

    Args:
        counted: the trials that count, as ``contenders`` takes them.
        kinds: in-training, post-hoc or control, by method.
    """
    camps = {kind: [method for method, own in kinds.items() if own == kind] for kind in CAMPS}
    grid = grid_of(counted, [*itertools.chain(*camps.values())], ItemDraws())
    if grid is None:
        return Verdicts(None, [], dict.fromkeys(CAMPS, 0), {})
    sides = {kind: grid.of(*methods) for kind, methods in camps.items()}
    during, after = sides.values()
    found, gaps = [], []
    for budget in budgets:
        if drawn := min(len(_able(side, budget)) for side in sides.values()):
            gaps.append(sign * (_best(after, budget, drawn, sign) - _best(during, budget, drawn, sign)))
            found.append(_verdict(budget, gaps[-1]))
    overall = _verdict(None, np.mean(gaps, axis=0)) if gaps else None
    sizes = {kind: len(_able(side, math.inf)) for kind, side in sides.items()}
    return Verdicts(overall, found, sizes, _against_dense(counted, camps, budgets, sign))


def _usable(grid: Grid, budget: float) -> NDArray[np.bool_]:
    """Which points are within a budget, all of whose seeds have finished; shape (points,)."""
    finished = np.isfinite(grid.evals).all(axis=0) & np.isfinite(grid.dev).all(axis=0)
    return np.asarray(finished & (grid.cost.mean(axis=0) <= budget * (1 + ROUNDING)))


def _able(grid: Grid, budget: float) -> list[str]:
    """The methods that have such a point."""
    return sorted(set(grid.methods[_usable(grid, budget)]))


def _best(grid: Grid, budget: float, drawn: int, sign: Sign) -> Array:
    """Eval score of the best on dev within a budget, by seed, shape (seeds,): the mean over draws of methods."""
    methods = _able(grid, budget)
    subsets: Iterable[Sequence[str]] = itertools.combinations(methods, drawn)
    if math.comb(len(methods), drawn) > DRAWS:
        rng = np.random.default_rng(0)
        subsets = (rng.choice(methods, drawn, replace=False).tolist() for _ in range(DRAWS))
    dev = np.where(_usable(grid, budget), sign * grid.dev.mean(axis=0), np.inf)
    best = [np.where(np.isin(grid.methods, subset), dev, np.inf).argmin() for subset in subsets]
    return np.asarray(grid.evals[:, best].mean(axis=1))


def _verdict(budget: float | None, gaps: Array) -> Verdict:
    by_seed = dict(enumerate(gaps.tolist()))
    test = permutation_test(dict.fromkeys(by_seed, 0.0), by_seed, sign=SMALL_IS_GOOD, paired=True)
    spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else math.inf
    return Verdict(budget, mean_of(gaps), test.p, spread)


def _against_dense(
    counted: pd.DataFrame, camps: Mapping[str, Sequence[str]], budgets: Sequence[float], sign: Sign
) -> dict[tuple[str, float], Estimate]:
    found = {}
    for kind, methods in camps.items():
        grid = grid_of(counted, [*methods, "dense"], ItemDraws())
        if grid is None or not _able(level := grid.of("dense"), math.inf):
            continue
        own = grid.of(*methods)
        for budget in budgets:
            if able := len(_able(own, budget)):
                found[kind, budget] = mean_of(sign * (_best(own, budget, able, sign) - level.evals[:, 0]))
    return found
