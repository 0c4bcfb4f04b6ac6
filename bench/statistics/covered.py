"""The share of the frozen box that each seed of a method covers, and of a camp: one number a seed to compare by."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from bench.pareto import Reference, hypervolume

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


def _arrays(run: Run) -> tuple[np.ndarray, np.ndarray]:
    costs, scores = (np.asarray(values, dtype=np.float64).reshape(-1) for values in run)
    if costs.shape != scores.shape:
        raise ValueError(f"{len(costs)} costs but {len(scores)} scores")
    return costs, scores
