"""Scores on other draws of the evaluation items, the same draws for all models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.plugins.task import ItemScores

#: kept of one model: all where it has no more distinct scores
THRESHOLDS = 512
_DENSE = 0.05  # share of non-zero counts from which on a plain matrix product is faster


class ErrorCounts:
    """How many targets and how many others of each unit lie between one threshold and the next.

    A draw of units is then a product with its weights. All thresholds are kept where there are few; of many, those next
    to the full sample's equal error rate, and fewer the further away: there the curve is a chord between two of its own
    points. On the full sample the rate is exact.

    Args:
        items: scores with labels; both classes are there.
    """

    def __init__(self, items: ItemScores) -> None:
        order = np.argsort(-items.scores, kind="stable")
        ranked, targets = items.scores[order], np.asarray(items.labels)[order] == 1
        ends = np.r_[np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(ranked)]  # tied scores share a threshold
        ends = ends[_kept(ends, targets)]
        between = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        units = np.unique(items.units, return_inverse=True)[1]
        shape = (len(ends), int(units.max()) + 1)
        self._counts = [_matrix(between[of], units[order][of], shape) for of in (targets, ~targets)]

    def rescored(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """The equal error rate of each draw in percent, as ``equal_error_rate`` defines it.

        Args:
            weights: how often each unit is in each draw, shape (units, draws).

        Returns:
            Shape (draws,).
        """
        hits, others = (np.cumsum(counts @ weights, axis=0) for counts in self._counts)
        right = np.argmax(hits / hits[-1] + others / others[-1] >= 1, axis=0)  # misses no longer more than false alarms
        (hit, alarm), (before_hit, before_alarm) = (
            [self._share(accepted, at) for accepted in (hits, others)] for at in (right, right - 1)
        )
        before, after = 1 - before_hit - before_alarm, 1 - hit - alarm
        rates: NDArray[np.float64] = 100 * (before_alarm + before / (before - after) * (alarm - before_alarm))
        return rates

    @staticmethod
    def _share(accepted: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float64]:
        """The share of a class that is accepted at a threshold of each draw; nothing at -1, above all scores."""
        counts = accepted[at, np.arange(len(at))].astype(np.float64)
        return np.where(at < 0, 0.0, counts / accepted[-1])


def _kept(ends: NDArray[np.intp], targets: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The numbers of the thresholds to keep, ascending; the last one, which accepts everything, is among them."""
    if len(ends) <= THRESHOLDS:
        return np.arange(len(ends))
    hits = np.cumsum(targets)[ends - 1]
    gap = 1 - hits / hits[-1] - (ends - hits) / (ends[-1] - hits[-1])
    right = int(np.argmax(gap <= 0))
    spread = np.linspace(-1, 1, THRESHOLDS)
    wanted = np.searchsorted(-gap, spread * np.abs(spread))  # close together where the rates are equal
    bracket = [max(right - 1, 0), right, len(ends) - 1]
    return np.unique(np.r_[np.minimum(wanted, len(ends) - 1), bracket])


def _matrix(
    thresholds: NDArray[np.intp], units: NDArray[np.intp], shape: tuple[int, int]
) -> "NDArray[np.float32] | sparse.csr_array":
    """Counts, shape (thresholds, units)."""
    ones = np.ones(len(units), dtype=np.float32)
    counts = sparse.csr_array(sparse.coo_array((ones, (thresholds, units)), shape=shape))
    return counts.toarray() if counts.nnz > _DENSE * shape[0] * shape[1] else counts


_MODELS_AT_ONCE = 24  # whose counts are held in memory
_DRAWN_AT_ONCE = 2**23  # numbers of units and draws: 32 MB

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Items:
    """What runs score when the items of the evaluation set are drawn again.

    Attributes:
        drawn: scores of the runs on each draw, shape (resamples, seeds, points), in the unit of the metric. What stands
            there for failed runs is not used.
        count: units that were drawn from, at least 2: items that depend on each other count once.
    """

    drawn: NDArray[np.float64]
    count: int

    def __post_init__(self) -> None:
        if self.drawn.ndim != 3:
            raise ValueError(f"drawn scores have shape {self.drawn.shape}, expected (resamples, seeds, points)")
        if self.count < 2:
            raise ValueError("intervals over items need at least two items to draw from")


def drawn_scores(models: Sequence[ItemScores], resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """The headline score of every model on the same bootstrap draws of the units (Efron and Tibshirani 1993).

    Units are drawn within their class (only targets, only others, both), so that a draw has as many of each as the
    evaluation set. Time and memory are bounded: rates come from counts over thresholds, some models and draws at once.

    Args:
        models: scores of the same items by each model: same labels, same units.
        resamples: number of draws.
        seed: of the draws; the same seed gives the same.

    Returns:
        Shape (resamples, models), in the unit of the metric.

    Raises:
        ValueError: the models do not share labels and units.
    """
    found = np.empty((resamples, len(models)))
    if not models:
        return found
    first = models[0]
    if not all(same_items(first, model) for model in models):
        raise ValueError("models must have been scored on the same items")
    for start in range(0, len(models), _MODELS_AT_ONCE):
        group = [_rescorer(model) for model in models[start : start + _MODELS_AT_ONCE]]
        done = 0
        for weights in unit_draws(first, resamples, seed):
            for offset, rescorer in enumerate(group):
                found[done : done + weights.shape[1], start + offset] = rescorer.rescored(weights)
            done += weights.shape[1]
    return found


def same_items(one: ItemScores, other: ItemScores) -> bool:
    """Whether two models were scored on the same items, in the same order."""
    if (one.labels is None) != (other.labels is None) or not np.array_equal(one.units, other.units):
        return False
    return one.labels is None or other.labels is None or np.array_equal(one.labels, other.labels)


def unit_draws(items: ItemScores, resamples: int, seed: int) -> Iterator[Weights]:
    """How often each unit is in each draw, some draws at a time: shapes (units, draws), units in ascending order."""
    units = np.unique(items.units, return_inverse=True)[1]
    strata = _strata(items, units)
    rng, left = np.random.default_rng([seed, len(strata)]), resamples
    while left:
        some = min(left, max(1, _DRAWN_AT_ONCE // len(strata)))
        weights = np.zeros((len(strata), some), dtype=np.float32)
        for which in np.unique(strata):
            members = np.flatnonzero(strata == which)
            picked = rng.integers(0, len(members), (len(members), some)) * some + np.arange(some)
            counts = np.bincount(picked.ravel(), minlength=len(members) * some)
            weights[members] = counts.reshape(len(members), some)
        yield weights
        left -= some


def _strata(items: ItemScores, units: NDArray[np.intp]) -> NDArray[np.int64]:
    """The class of each unit: 1 if it has targets, 2 if it has others, 3 if both; 0 without labels."""
    if items.labels is None:
        return np.zeros(units.max() + 1, dtype=np.int64)
    has = [np.bincount(units, weights=items.labels == label) > 0 for label in (1, 0)]
    return has[0] + 2 * has[1]


class _Means:
    """Sums over the units of one model, for scores that are means."""

    def __init__(self, items: ItemScores) -> None:
        units = np.unique(items.units, return_inverse=True)[1]
        self.centre = float(items.scores.mean())  # taken off, as single precision has no digits to waste
        self.sums = np.bincount(units, weights=items.scores - self.centre).astype(np.float32)
        self.sizes = np.bincount(units).astype(np.float32)

    def rescored(self, weights: Weights) -> NDArray[np.float64]:
        """The mean of each draw, shape (draws,)."""
        return np.asarray(self.centre + (self.sums @ weights) / (self.sizes @ weights), dtype=np.float64)


def _rescorer(items: ItemScores) -> ErrorCounts | _Means:
    return _Means(items) if items.labels is None else ErrorCounts(items)
