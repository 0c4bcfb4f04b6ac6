"""Fronts of cost against quality: how much of a frozen box they cover, and what half of the seeds attain."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError
from bench.plugins.task import Metric, Task
from bench.stats.estimates import DEFAULT, Draw, Estimate, Resampling, Runs, Sign, estimate
from bench.stats.items import Items

#: shares of the dense compute at which a task is asked for the best possible score, beside those that were delivered
_SHARES = 2.0 ** np.linspace(-6, 0, 193)


@dataclass(frozen=True)
class Reference:
    """The box that hypervolume is measured in. It is frozen: it must never follow from the points of a run.

    Costs are shares of the dense model on a logarithmic axis, so that halving counts the same everywhere; scores are
    on a linear axis.

    Attributes:
        cheapest: share of the dense cost that maps to 0; what is cheaper counts as this.
        dearest: share that maps to 1, the reference point; what costs this much or more covers nothing.
        best: score that maps to 0, in the unit of the metric.
        worst: score that maps to 1, the reference point; larger than ``best`` where small scores are good.
    """

    cheapest: float = 1 / 32
    dearest: float = 1.0
    best: float = 0.0
    worst: float = 50.0

    def normalised(self, costs: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
        """Both axes on [0, 1], small is good; values beyond the reference point stay beyond it.

        Args:
            costs: shares of the dense cost, each above 0, shape (n,).
            scores: in the unit of the metric, shape (n,).

        Returns:
            Cost and error of each point, shape (n, 2), without unit.
        """
        span = np.log2(self.dearest / self.cheapest)
        cost = np.log2(np.asarray(costs, dtype=np.float64) / self.cheapest) / span
        error = (np.asarray(scores, dtype=np.float64) - self.best) / (self.worst - self.best)
        points: NDArray[np.float64] = np.stack([cost, error], axis=-1).reshape(-1, 2)
        return np.maximum(points, 0.0)


def reference_for(metric: Metric) -> Reference | None:
    """The box of a metric in percent: from perfect to a score of 50 %; None where the unit has no natural end.

    An equal error rate of 50 % is a guess; a rate of correct answers is counted down from 100 % to 50 %. A squared
    error in percent of the power of the targets (``mse``) ends at 100 %: that is what a constant answer has.
    """
    if metric.unit != "percent":
        return None
    if metric.name == "mse":
        return Reference(worst=100.0)
    return Reference() if metric.direction == "minimize" else Reference(best=100.0, worst=50.0)


def best_possible_front(task: Task, delivered: Iterable[float] = ()) -> list[tuple[float, float]]:
    """Shares of the dense compute and the best score any model can have there; empty where the task does not know.

    Args:
        task: the task.
        delivered: shares of trained models, which are among those that the task is asked for.

    Raises:
        BenchError: the task's own code fails.
    """
    shares = sorted({*map(float, _SHARES), *(share for share in delivered if 0 < share <= 1)})
    try:
        scores = [(share, task.best_possible(share)) for share in shares]
    except Exception as error:  # of the plugin
        raise BenchError(f"task {type(task).__name__} cannot tell its best possible score: {error!r}") from error
    return [(share, float(score)) for share, score in scores if score is not None and np.isfinite(score)]


def nondominated(costs: ArrayLike, errors: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none is as good on both axes and better on one. Twins both count.

    Args:
        costs: any unit, small is good, shape (n,).
        errors: any unit, small is good, shape (n,).

    Returns:
        True for the points of the front, shape (n,).

    >>> nondominated([1, 2, 4, 4], [9.0, 7.0, 8.0, 7.0]).tolist()
    [True, True, False, False]
    """
    points = np.stack([np.asarray(costs, dtype=np.float64), np.asarray(errors, dtype=np.float64)], axis=-1)
    if not len(points):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=np.bool_)


def hypervolume(costs: Sequence[float] | ArrayLike, scores: ArrayLike, reference: Reference) -> float:
    """The share of the reference box that these points dominate (Zitzler and Thiele 1999); more is better.

    Args:
        costs: shares of the dense cost, each above 0, shape (n,).
        scores: in the unit of the metric, shape (n,).
        reference: the box.

    Returns:
        A number from 0 (nothing inside the box) to 1 (perfect at the cheapest cost), without unit.

    A quarter of the dense compute is three of the five halvings away from the far end, and 10 % is a fifth of the
    way to 50 %:

    >>> hypervolume([0.25], [10.0], Reference())  # (1 - 3/5) * (1 - 1/5)
    0.32
    """
    points = reference.normalised(costs, scores)
    inside = points[(points < 1.0).all(axis=1)]
    if not len(inside):
        return 0.0
    return round(float(moocore.hypervolume(inside, ref=[1.0, 1.0])), 12)


#: costs (shares of the dense compute) and scores (unit of the metric) of one seed's points, each of shape (points,)
Run = tuple[ArrayLike, ArrayLike]


def covered_by_seed(runs: Mapping[int, Run], reference: Reference) -> dict[int, float]:
    """The hypervolume that each seed of a method covers, from 0 to 1; more is better (``LARGE_IS_GOOD``).

    Args:
        runs: the points of each seed; a failed one has an infinitely bad score and covers nothing.
        reference: the box.

    Raises:
        ValueError: costs and scores of different length.
    """
    return {seed: hypervolume(*_arrays(run), reference) for seed, run in sorted(runs.items())}


def camp_covered_by_seed(methods: Iterable[Mapping[int, Run]], reference: Reference) -> dict[int, float]:
    """The hypervolume that the methods of a camp cover together with each seed.

    A camp with more methods has more chances to cover something; the number of trials of each camp belongs beside
    this. A method without runs (one that declined) takes no part.

    Args:
        methods: for each method the points of each seed.
        reference: the box.

    Returns:
        By seed, for the seeds that all methods have: otherwise a seed with fewer methods would look worse for it.

    Raises:
        ValueError: costs and scores of different length.
    """
    taking_part = [runs for runs in methods if runs]
    shared = set.intersection(*(set(runs) for runs in taking_part)) if taking_part else set()
    together: dict[int, Run] = {}
    for seed in shared:
        costs, scores = zip(*(_arrays(runs[seed]) for runs in taking_part), strict=True)
        together[seed] = (np.concatenate(costs), np.concatenate(scores))
    return covered_by_seed(together, reference)


def covered_on_average(
    costs: ArrayLike,
    scores: ArrayLike,
    reference: Reference,
    *,
    items: Items | None = None,
    resampling: Resampling = DEFAULT,
) -> Estimate:
    """The hypervolume of the points' means over seeds, with its interval.

    Args:
        costs: shares of the dense cost, above 0, shape (seeds, points); not used where the run failed.
        scores: of the same runs, in the unit of the metric; failures as the worst score, infinite. A point one of
            whose seeds failed covers nothing.
        reference: the box.
        items: the items of ``scores``, where they are known.
        resampling: how the interval is drawn.

    Raises:
        ValueError: see ``best_within``.
    """
    sign: Sign = 1 if reference.worst > reference.best else -1
    runs = Runs.checked(costs, scores, sign, items)

    def statistic(seeds: Draw, again: bool) -> NDArray[np.float64]:
        errors = runs.mean_errors(seeds, again)
        finite = np.isfinite(errors)
        cost = np.where(finite, runs.mean_costs(seeds), reference.dearest)
        return _volumes(cost, np.where(finite, sign * errors, reference.worst), reference)

    return estimate(statistic, len(runs.errors), items, resampling)


def _volumes(costs: NDArray[np.float64], scores: NDArray[np.float64], reference: Reference) -> NDArray[np.float64]:
    """The hypervolume of many sets of points at once: areas under falling steps, shape (...) of (..., points)."""
    box = np.minimum(reference.normalised(costs, scores).reshape(*costs.shape, 2), 1.0)
    order = np.argsort(box[..., 0], axis=-1)
    cost, error = (np.take_along_axis(box[..., axis], order, axis=-1) for axis in (0, 1))
    widths = np.diff(cost, axis=-1, append=1.0)
    return np.asarray((widths * (1 - np.minimum.accumulate(error, axis=-1))).sum(axis=-1))


def _arrays(run: Run) -> tuple[np.ndarray, np.ndarray]:
    costs, scores = (np.asarray(values, dtype=np.float64).reshape(-1) for values in run)
    if costs.shape != scores.shape:
        raise ValueError(f"{len(costs)} costs but {len(scores)} scores")
    return costs, scores


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
