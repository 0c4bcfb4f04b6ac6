"""What a method attains over its seeds: for every cost, the score that half of the runs reach."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.pareto import Reference

#: with fewer seeds the band is from the best run to the worst
ENOUGH_FOR_QUARTILES = 5


@dataclass(frozen=True)
class Steps:
    """A step function: from each cost on, up to the next, this score is attained.

    Attributes:
        costs: shares of the dense compute, ascending.
        scores: in the unit of the metric, strictly better from step to step.
        unattained: what stands before the first step: the worst score there is.
    """

    costs: tuple[float, ...]
    scores: tuple[float, ...]
    unattained: float = math.inf

    def at(self, cost: float) -> float:
        """The score attained at this share of the dense compute, in the unit of the metric.

        >>> Steps((0.25, 0.5), (9.0, 7.0)).at(0.3)
        9.0
        """
        step = bisect_right(self.costs, cost)
        return self.scores[step - 1] if step else self.unattained


@dataclass(frozen=True)
class AttainmentBand:
    """Attainment at three shares of the runs.

    Attributes:
        best: what the luckier runs attain.
        median: what half of the runs attain.
        worst: what nearly all runs attain.
        shares: the shares of the runs that attain ``best`` and ``worst``; 0 and 1 name the best and the worst run.
        n: number of runs.
    """

    best: Steps
    median: Steps
    worst: Steps
    shares: tuple[float, float]
    n: int


def attained(runs: Sequence[tuple[ArrayLike, ArrayLike]], reference: Reference, share: float = 0.5) -> Steps:
    """The surface that at least this share of the runs attains (Grunert da Fonseca, Fonseca and Hall 2001).

    For every cost c it is the best score s such that at least ``share`` of the runs have a point of at most that cost
    and no worse a score. With an even number of runs the median is thus the better of the two in the middle. The
    function depends on the order of costs and scores alone, so the logarithm of the box changes nothing; its ends do:
    what lies on the reference point or beyond attains nothing, what is cheaper than the cheapest counts as that.

    Args:
        runs: costs (shares of the dense compute, above 0) and scores (unit of the metric, failures infinite) of the
            points of each seed, both of shape (points,); a seed may have none, and then attains nothing.
        reference: the box.
        share: of the runs, in [0, 1]; 0 stands for the best single run.

    Returns:
        The steps; none where too few runs attain anything.

    Raises:
        ValueError: no runs, a share outside [0, 1], or costs and scores of different length.
    """
    if not runs or not 0 <= share <= 1:
        raise ValueError(f"expected at least one run and a share in [0, 1], got {len(runs)} runs and share {share}")
    sign = 1.0 if reference.worst > reference.best else -1.0
    inside = [_inside(costs, scores, reference) for costs, scores in runs]
    needed = max(1, math.ceil(share * len(runs) - 1e-9))
    count = sum(len(points) > 0 for points in inside)  # a run without points attains nothing, and moocore cannot see it
    if count < needed:
        return Steps((), (), sign * math.inf)
    sets = np.repeat(np.arange(len(inside)), [len(points) for points in inside])
    surfaces = moocore.eaf(np.concatenate(inside), sets=sets)
    level = surfaces[np.rint(surfaces[:, 2] * count / 100) == needed]
    level = level[np.argsort(level[:, 0])]
    return Steps(tuple(level[:, 0].tolist()), tuple((sign * level[:, 1]).tolist()), sign * math.inf)


def attainment_band(runs: Sequence[tuple[ArrayLike, ArrayLike]], reference: Reference) -> AttainmentBand:
    """The median attainment surface with a band: quartiles of the runs, or best and worst with fewer than five.

    Args:
        runs: one for each seed, see ``attained``.
        reference: the box.

    Raises:
        ValueError: see ``attained``.
    """
    shares = (0.25, 0.75) if len(runs) >= ENOUGH_FOR_QUARTILES else (0.0, 1.0)
    best, median, worst = (attained(runs, reference, share) for share in (shares[0], 0.5, shares[1]))
    return AttainmentBand(best, median, worst, shares, len(runs))


def _inside(costs: ArrayLike, scores: ArrayLike, reference: Reference) -> NDArray[np.float64]:
    """Cost and error (score with the sign that makes small good) of the points that beat the reference point."""
    cost, score = np.asarray(costs, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if cost.shape != score.shape or cost.ndim != 1:
        raise ValueError(f"costs {cost.shape} and scores {score.shape} must have the same shape (points,)")
    inside = (reference.normalised(cost, score) < 1).all(axis=1)
    sign = 1.0 if reference.worst > reference.best else -1.0
    error = np.maximum(sign * score, sign * reference.best)
    return np.stack([np.maximum(cost, reference.cheapest), error], axis=-1)[inside]
