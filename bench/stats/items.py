"""Scores on redrawn evaluation items: bootstrap draws that all models share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.plugins.task import ItemScores

#: kept of one model: all where it has no more distinct scores
THRESHOLDS = 512
_DENSE = 0.05  # share of non-zero counts from which on a plain matrix product is faster
_MODELS_AT_ONCE = 24  # whose counts are held in memory
_DRAWN_AT_ONCE = 2**23  # units times draws: 32 MB

Weights = NDArray[np.float32]
#: of each item, counted from 0 without gaps
Units = NDArray[np.intp]


@dataclass(frozen=True)
class RedrawnScores:
    """What the trials of some points score when the evaluation items are drawn again; failed trials are not used."""

    scores: NDArray[np.float64]  # shape (resamples, seeds, points), in the unit of the metric
    units: int  # that were drawn from, at least 2; items that depend on each other are one unit

    def __post_init__(self) -> None:
        if self.scores.ndim != 3:
            raise ValueError(f"redrawn scores have shape {self.scores.shape}, expected (resamples, seeds, points)")
        if self.units < 2:
            raise ValueError(f"intervals over items need at least two units to draw from, got {self.units}")


def redraw_scores(models: Sequence[ItemScores], resamples: int) -> NDArray[np.float64]:
    """The headline score of every model on the same bootstrap draws of the units (Efron and Tibshirani 1993).

    Units are drawn within their class (only targets, only others, both), so that a draw has as many of each as the
    evaluation set. The same items always get the same draws. Time and memory are bounded: rates come from counts
    between thresholds, for some models and draws at a time.

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
        raise ValueError("the models were not scored on the same items: labels or units differ")
    units = np.unique(first.units, return_inverse=True)[1]
    for start in range(0, len(models), _MODELS_AT_ONCE):
        some = models[start : start + _MODELS_AT_ONCE]
        group = [_Means(own, units) if own.labels is None else _Curve(own, units) for own in some]
        done = 0
        for weights in unit_draws(first, units, resamples):
            for column, model in enumerate(group, start):
                found[done : done + weights.shape[1], column] = model.rescored(weights)
            done += weights.shape[1]
    return found


def same_items(one: ItemScores, other: ItemScores) -> bool:
    """Whether two models were scored on the same items, in the same order."""
    if (one.labels is None) != (other.labels is None) or not np.array_equal(one.units, other.units):
        return False
    return one.labels is None or other.labels is None or np.array_equal(one.labels, other.labels)


def _counts(items: ItemScores) -> NDArray[np.number]:
    """How often each item counts, shape (n,)."""
    return np.ones(len(items.scores), dtype=np.float32) if items.weights is None else items.weights


def unit_draws(items: ItemScores, units: Units, resamples: int) -> Iterator[Weights]:
    """How often each unit is in each draw, some draws at a time: shapes (units, draws)."""
    strata = _strata(items, units)
    rng, left = np.random.default_rng([0, len(strata)]), resamples
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


def _strata(items: ItemScores, units: Units) -> NDArray[np.int64]:
    """The class of each unit: 1 if it has targets, 2 if it has others, 3 if both; 0 without labels."""
    if items.labels is None:
        return np.zeros(units.max() + 1, dtype=np.int64)
    has = [np.bincount(units, weights=items.labels == label) > 0 for label in (1, 0)]
    return has[0] + 2 * has[1]


class _Means:
    """Sums over the units of one model, for scores that are means."""

    def __init__(self, items: ItemScores, units: Units) -> None:
        counts = _counts(items)
        self.centre = items.headline  # taken off, as single precision has no digits to waste
        self.sums = np.bincount(units, weights=counts * (items.scores - self.centre)).astype(np.float32)
        self.sizes = np.bincount(units, weights=counts).astype(np.float32)

    def rescored(self, weights: Weights) -> NDArray[np.float64]:
        """The mean of each draw, shape (draws,)."""
        return np.asarray(self.centre + (self.sums @ weights) / (self.sizes @ weights), dtype=np.float64)


class _Curve:
    """How many targets and how many others of each unit one model scores between one threshold and the next.

    The counts of a draw are then a product with its weights. All thresholds are kept where there are few. Of many, for
    an equal error rate those next to that of the full sample, and fewer the further away: there the curve is a chord
    between two of its own points, and on the full sample the rate is exact. For an average precision, those that are
    evenly far apart in recall.
    """

    def __init__(self, items: ItemScores, units: Units) -> None:
        order = np.argsort(-items.scores, kind="stable")
        ranked, targets = items.scores[order], np.asarray(items.labels)[order] == 1
        counts = _counts(items)[order]
        ends = np.r_[np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(ranked)]  # tied scores share a threshold
        if len(ends) > THRESHOLDS:
            hits, others = (np.cumsum(counts * of, dtype=np.float64)[ends - 1] for of in (targets, ~targets))
            ends = ends[_KEPT[items.curve](hits / hits[-1], others / others[-1])]
        between = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        shape = (len(ends), int(units.max()) + 1)
        self._counts = [_matrix(counts[of], between[of], units[order][of], shape) for of in (targets, ~targets)]
        self._read = _READ[items.curve]

    def rescored(self, weights: Weights) -> NDArray[np.float64]:
        """What is read from the curve of each draw, in percent, shape (draws,)."""
        return self._read(*(np.cumsum(counts @ weights, axis=0) for counts in self._counts))


def _matrix(
    counts: NDArray[np.number], thresholds: NDArray[np.intp], units: NDArray[np.intp], shape: tuple[int, int]
) -> "NDArray[np.float32] | sparse.csr_array":
    """Counts, shape (thresholds, units)."""
    table = sparse.csr_array((counts.astype(np.float32), (thresholds, units)), shape=shape)
    return table.toarray() if table.nnz > _DENSE * shape[0] * shape[1] else table


def _equal_error_rates(hits: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """As ``equal_error_rate`` defines it: (thresholds, draws) targets and others that are accepted to (draws,)."""
    right = np.argmax(hits / hits[-1] + others / others[-1] >= 1, axis=0)  # misses no longer more than false alarms
    hit, alarm, before_hit, before_alarm = (
        _accepted(counts, at) for at in (right, right - 1) for counts in (hits, others)
    )
    before, after = 1 - before_hit - before_alarm, 1 - hit - alarm
    return np.asarray(100 * (before_alarm + before / (before - after) * (alarm - before_alarm)))


def _accepted(counts: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float64]:
    """The share of a class that is accepted at a threshold of each draw; nothing at -1, above all scores."""
    accepted = counts[at, np.arange(len(at))].astype(np.float64)
    return np.where(at < 0, 0.0, accepted / counts[-1])


def _average_precisions(hits: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """As ``average_precision`` defines it: (thresholds, draws) targets and others that are accepted to (draws,)."""
    precisions = hits / np.maximum(hits + others, np.finfo(np.float32).tiny)
    added = np.diff(hits, axis=0, prepend=0)
    return np.asarray(100 * np.sum(added * precisions, axis=0, dtype=np.float64) / hits[-1])


def _near_equal_rates(hits: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.intp]:
    """The thresholds to keep for an equal error rate, by the shares (thresholds,) of each class that they accept."""
    gap = 1 - hits - others
    right = int(np.argmax(gap <= 0))
    spread = np.linspace(-1, 1, THRESHOLDS)
    wanted = np.searchsorted(-gap, spread * np.abs(spread))  # close together where the rates are equal
    last = len(hits) - 1  # accepts everything
    return np.unique(np.r_[np.minimum(wanted, last), max(right - 1, 0), right, last])


def _even_in_recall(hits: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.intp]:
    """The thresholds to keep for an average precision, likewise."""
    wanted = np.searchsorted(hits, np.linspace(0, 1, THRESHOLDS))
    return np.unique(np.r_[wanted[wanted < len(hits)], len(hits) - 1])


_READ = {"equal_error_rate": _equal_error_rates, "average_precision": _average_precisions}
_KEPT = {"equal_error_rate": _near_equal_rates, "average_precision": _even_in_recall}
