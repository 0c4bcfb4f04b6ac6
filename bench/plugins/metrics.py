"""Metrics for tasks to use."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError

#: what a headline score is read from, where items are targets or not
Curve = Literal["equal_error_rate", "average_precision"]


def equal_error_rate(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The equal error rate in percent: where the misses are as frequent as the false alarms.

    The ROC has one point for every distinct score (tied scores collapse), joined by straight lines; the rate is read
    where the lines cross miss rate = false alarm rate. Constant scores give 50.

    Args:
        scores: (n,) higher means more likely a target.
        labels: (n,) 1 = target (bona fide, speech), 0 = not.
        weights: (n,) how often each item counts; once each by default.

    Raises:
        BenchError: a score is not a number, a label is neither 0 nor 1, a weight is negative or not finite, or one of
            the classes is missing.

    Example:
        >>> equal_error_rate([0.9, 0.8, 0.3, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0])
        33.33333333333333
    """
    hits, others = _accepted("equal error rate", scores, labels, weights)
    miss, false_alarm = 1 - np.r_[0, hits] / hits[-1], np.r_[0, others] / others[-1]
    gap = miss - false_alarm  # falls from 1 to -1
    right = int(np.argmax(gap <= 0))
    weight = gap[right - 1] / (gap[right - 1] - gap[right])
    return float(100 * (false_alarm[right - 1] + weight * (false_alarm[right] - false_alarm[right - 1])))


def average_precision(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The area under the precision-recall curve in percent: the mean precision over the recall that each score adds.

    Tied scores collapse; nothing is interpolated (as in scikit-learn). Constant scores give the share of targets.

    Args:
        scores: (n,) higher means more likely a target.
        labels: (n,) 1 = target, 0 = not.
        weights: (n,) how often each item counts; once each by default.

    Raises:
        BenchError: as for ``equal_error_rate``.

    Example:
        >>> average_precision([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0])
        83.33333333333333
    """
    hits, others = _accepted("average precision", scores, labels, weights)
    accepted = np.maximum(hits + others, np.finfo(np.float64).tiny)  # items of no weight may come first
    return float(100 * np.sum(np.diff(hits, prepend=0) * hits / accepted) / hits[-1])


CURVES: Mapping[Curve, Callable[..., float]] = {
    "equal_error_rate": equal_error_rate,
    "average_precision": average_precision,
}


def _accepted(
    metric: str, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many targets and how many others have at least each distinct score, from the highest score down."""
    scores, labels = np.asarray(scores, dtype=np.float64).ravel(), np.asarray(labels).ravel()
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if scores.shape != labels.shape or scores.shape != counts.shape:
        weighted = "" if weights is None else f", {len(counts)} weights"
        raise BenchError(f"{metric}: {len(scores)} scores but {len(labels)} labels{weighted}")
    if np.isnan(scores).any():
        raise BenchError(f"{metric}: {int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    if not np.isin(labels, (0, 1)).all():
        raise BenchError(f"{metric}: labels must be 1 (target) or 0")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise BenchError(f"{metric}: weights must be finite and not negative")
    targets, others = (float(counts[labels == label].sum()) for label in (1, 0))
    if not targets or not others:
        raise BenchError(f"{metric}: needs both classes, got {targets:g} targets among {targets + others:g} items")
    order = np.argsort(-scores, kind="stable")
    ranked, is_target = scores[order], labels[order] == 1
    last_of_tie = np.r_[np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1]
    hits, alarms = (np.cumsum(counts[order] * of)[last_of_tie] for of in (is_target, ~is_target))
    return hits, alarms
