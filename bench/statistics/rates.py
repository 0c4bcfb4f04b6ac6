"""Equal error rates of many draws at once, from counts over thresholds."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.task import ItemScores

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
