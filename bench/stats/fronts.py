"""Fronts of cost against score: the hypervolume they dominate in a frozen box, and what half of the seeds attain."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import blaming
from bench.plugins.task import Metric, Task
from bench.stats.estimates import LARGE_IS_GOOD, SMALL_IS_GOOD, Array, Draw, Estimate, SeedScores, Sign, estimate
from bench.stats.items import RedrawnScores

#: costs (shares of the dense compute) and scores (unit of the metric) of one seed's points, each of shape (points,)
SeedPoints = tuple[ArrayLike, ArrayLike]
#: with fewer seeds the attainment band is from the best seed to the worst
ENOUGH_FOR_QUARTILES = 5
#: shares of the dense compute at which a task is asked for the best possible score, beside those that were delivered
_SHARES = 2.0 ** np.linspace(-6, 0, 193)


@dataclass(frozen=True)
class Reference:
    """The box that hypervolume is measured in. It is frozen: it must never follow from the points of a comparison.

    Costs are shares of the dense model on a logarithmic axis, so that halving counts the same everywhere; scores are
    on a linear axis.
    """

    cheapest: float = 1 / 32  # share of the dense cost that maps to 0; what is cheaper counts as this
    dearest: float = 1.0  # share that maps to 1, the reference point; what costs this much or more dominates nothing
    best: float = 0.0  # score that maps to 0, in the unit of the metric
    worst: float = 50.0  # score that maps to 1, the reference point; larger than ``best`` where small scores are good

    @property
    def sign(self) -> Sign:
        return SMALL_IS_GOOD if self.worst > self.best else LARGE_IS_GOOD

    def normalised(self, costs: ArrayLike, scores: ArrayLike) -> Array:
        """Cost and error of n points, shape (n, 2), small is good: on [0, 1] inside the box, above 1 beyond it."""
        span = np.log2(self.dearest / self.cheapest)
        cost = np.log2(np.asarray(costs, dtype=np.float64) / self.cheapest) / span
        error = (np.asarray(scores, dtype=np.float64) - self.best) / (self.worst - self.best)
        points: Array = np.stack([cost, error], axis=-1).reshape(-1, 2)
        return np.maximum(points, 0.0)


def reference_for(metric: Metric) -> Reference | None:
    """The box of a metric in percent: from perfect to its guess; None where the unit has no natural end."""
    if metric.unit != "percent":
        return None
    return Reference(best=0.0 if metric.direction == "minimize" else 100.0, worst=metric.guess)


def best_possible_front(task: Task, delivered: Iterable[float]) -> list[tuple[float, float]]:
    """Shares of the dense compute and the best score any model can have there; empty where the task does not know.

    The task is asked for the shares of trained models, ``delivered``, and for a grid of others.

    Raises:
        BenchError: the task's own code fails.
    """
    shares = sorted({*map(float, _SHARES), *(share for share in delivered if 0 < share <= 1)})
    with blaming(f"task {type(task).__name__} cannot tell its best possible score"):
        scores = [(share, task.best_possible(share)) for share in shares]
        return [(share, float(score)) for share, score in scores if score is not None and np.isfinite(score)]


def nondominated(costs: ArrayLike, errors: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none is as good on both axes and better on one. Twins both count.

    Costs and errors have any unit, small is good; they and the result have shape (n,).

    >>> nondominated([1, 2, 4, 4], [9.0, 7.0, 8.0, 7.0]).tolist()
    [True, True, False, False]
    """
    points = np.stack([np.asarray(costs, dtype=np.float64), np.asarray(errors, dtype=np.float64)], axis=-1)
    if not len(points):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=np.bool_)


def hypervolume(costs: ArrayLike, scores: ArrayLike, reference: Reference) -> float:
    """The share of the reference box that these points dominate (Zitzler and Thiele 1999); more is better.

    It is 0 where no point lies inside the box, and 1 for a perfect score at the cheapest cost. Costs are shares of the
    dense cost, above 0, scores in the unit of the metric, both of shape (n,). A quarter of the dense compute is three
    of the five halvings away from the far end, and 10 % is a fifth of the way to 50 %:

    >>> hypervolume([0.25], [10.0], Reference())  # (1 - 3/5) * (1 - 1/5)
    0.32
    """
    points = reference.normalised(costs, scores)
    inside = points[(points < 1.0).all(axis=1)]
    if not len(inside):
        return 0.0
    return round(float(moocore.hypervolume(inside, ref=[1.0, 1.0])), 12)


def hypervolume_by_seed(seeds: Mapping[int, SeedPoints], reference: Reference) -> dict[int, float]:
    """The hypervolume of each seed of a method, from 0 to 1; more is better (``LARGE_IS_GOOD``).

    A failed point has an infinitely bad score and dominates nothing.

    Raises:
        ValueError: costs and scores of different shapes.
    """
    return {seed: hypervolume(*_arrays(points), reference) for seed, points in sorted(seeds.items())}


def camp_by_seed(methods: Iterable[Mapping[int, SeedPoints]]) -> dict[int, SeedPoints]:
    """The points of all methods of a camp together, for each seed.

    A camp with more methods has more chances; the number of trials of each camp belongs beside this. A method without
    seeds (it declined the task) takes no part. Seeds that some other method lacks are left out, as they would look
    worse for it.

    Raises:
        ValueError: costs and scores of different shapes.
    """
    taking_part = [seeds for seeds in methods if seeds]
    shared = set.intersection(*map(set, taking_part)) if taking_part else set()
    together: dict[int, SeedPoints] = {}
    for seed in sorted(shared):
        costs, scores = zip(*(_arrays(seeds[seed]) for seeds in taking_part), strict=True)
        together[seed] = (np.concatenate(costs), np.concatenate(scores))
    return together


def hypervolume_of_means(
    costs: ArrayLike, scores: ArrayLike, reference: Reference, *, redrawn: RedrawnScores | None = None
) -> Estimate:
    """The hypervolume of the points' means over seeds, with its interval; costs, scores, redrawn as in ``best_within``.

    A point one of whose seeds failed dominates nothing.

    Raises:
        ValueError: see ``SeedScores.checked``.
    """
    own = SeedScores.checked(costs, scores, reference.sign, redrawn)

    def statistic(seeds: Draw, redraw: bool) -> Array:
        errors = own.mean_errors(seeds, redraw)
        finite = np.isfinite(errors)
        cost = np.where(finite, own.mean_costs(seeds), reference.dearest)
        return _hypervolumes(cost, np.where(finite, reference.sign * errors, reference.worst), reference)

    return estimate(statistic, len(own.errors), redrawn)


def _hypervolumes(costs: Array, scores: Array, reference: Reference) -> Array:
    """Of many sets of points at once: areas under falling steps, shape (...) of (..., points)."""
    box = np.minimum(reference.normalised(costs, scores).reshape(*costs.shape, 2), 1.0)
    order = np.argsort(box[..., 0], axis=-1)
    cost, error = (np.take_along_axis(box[..., axis], order, axis=-1) for axis in (0, 1))
    widths = np.diff(cost, axis=-1, append=1.0)
    return np.asarray((widths * (1 - np.minimum.accumulate(error, axis=-1))).sum(axis=-1))


def _arrays(points: SeedPoints) -> tuple[Array, Array]:
    costs, scores = (np.asarray(values, dtype=np.float64) for values in points)
    if costs.shape != scores.shape or costs.ndim != 1:
        raise ValueError(f"costs {costs.shape} and scores {scores.shape} must have the same shape (points,)")
    return costs, scores


@dataclass(frozen=True)
class Steps:
    """A step function: from each cost on, up to the next, this score is attained."""

    costs: tuple[float, ...]  # shares of the dense compute, ascending
    scores: tuple[float, ...]  # in the unit of the metric, strictly better from step to step
    unattained: float = math.inf  # before the first step: the worst score there is

    def at(self, cost: float) -> float:
        """The score attained at this share of the dense compute, in the unit of the metric.

        >>> Steps((0.25, 0.5), (9.0, 7.0)).at(0.3)
        9.0
        """
        step = bisect_right(self.costs, cost)
        return self.scores[step - 1] if step else self.unattained


def attained(seeds: Sequence[SeedPoints], reference: Reference, share: float = 0.5) -> Steps:
    """The surface that at least this share of the seeds attains (Grunert da Fonseca, Fonseca and Hall 2001).

    For every cost c it is the best score s such that at least ``share`` of the seeds have a point of at most that cost
    and no worse a score. With an even number of seeds the median is thus the better of the two in the middle. The
    function depends on the order of costs and scores alone, so the logarithm of the box changes nothing; its ends do:
    what lies on the reference point or beyond attains nothing, what is cheaper than the cheapest counts as that.

    Failures have infinite scores, and a seed without points attains nothing; a share of 0 stands for the best single
    seed. There are no steps where too few seeds attain anything.

    Raises:
        ValueError: no seeds, a share outside [0, 1], or costs and scores of different shapes.
    """
    if not seeds or not 0 <= share <= 1:
        raise ValueError(f"expected at least one seed and a share in [0, 1], got {len(seeds)} seeds and share {share}")
    needed = max(1, math.ceil(share * len(seeds) - 1e-9))
    fronts = [front for points in seeds if len(front := _inside(points, reference))]  # moocore sees no empty sets
    if len(fronts) < needed:
        return Steps((), (), reference.sign * math.inf)
    sets = np.repeat(np.arange(len(fronts)), [len(front) for front in fronts])
    surface = moocore.eaf(np.concatenate(fronts), sets=sets, percentiles=[100 * needed / len(fronts)])
    costs, errors, _ = surface[np.argsort(surface[:, 0])].T
    return Steps(tuple(costs.tolist()), tuple((reference.sign * errors).tolist()), reference.sign * math.inf)


def _inside(points: SeedPoints, reference: Reference) -> Array:
    """Cost and error (score times sign) of the points that beat the reference point, shape (n, 2)."""
    costs, scores = _arrays(points)
    inside = (reference.normalised(costs, scores) < 1).all(axis=1)
    errors = np.maximum(reference.sign * scores, reference.sign * reference.best)
    return np.stack([np.maximum(costs, reference.cheapest), errors], axis=-1)[inside]


@dataclass(frozen=True)
class AttainmentBand:
    """What the luckier seeds attain, what half of the ``n`` seeds do, and what nearly all do."""

    best: Steps
    median: Steps
    worst: Steps
    shares: tuple[float, float]  # of the seeds that attain best and worst; 0 and 1: the best and the worst seed
    n: int


def attainment_band(seeds: Sequence[SeedPoints], reference: Reference) -> AttainmentBand:
    """The median attainment surface with a band: quartiles of the seeds, or best and worst with fewer than five.

    Arguments and errors are those of ``attained``.
    """
    shares = (0.25, 0.75) if len(seeds) >= ENOUGH_FOR_QUARTILES else (0.0, 1.0)
    best, median, worst = (attained(seeds, reference, share) for share in (shares[0], 0.5, shares[1]))
    return AttainmentBand(best, median, worst, shares, len(seeds))
