"""The share of the frozen box that each seed of a method covers, and of a camp: one number a seed to compare by."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.pareto import Reference, hypervolume
from bench.statistics.bootstrap import DEFAULT, Draw, Resampling
from bench.statistics.estimate import Estimate, Sign
from bench.statistics.items import Items
from bench.statistics.runs import Runs, estimate

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
