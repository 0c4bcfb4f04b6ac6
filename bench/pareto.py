"""Fronts of cost against quality, and how much of a frozen box they cover."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError
from bench.task import Metric, Task

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
