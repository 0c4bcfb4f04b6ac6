"""Metrics for tasks to use."""

import numpy as np
from numpy.typing import ArrayLike

from bench.errors import BenchError


def equal_error_rate(scores: ArrayLike, labels: ArrayLike) -> float:
    """The equal error rate in percent: where the misses are as frequent as the false alarms.

    The ROC has one point for every distinct score (tied scores collapse), joined by straight lines; the rate is read
    where the lines cross miss rate = false alarm rate. Constant scores give 50.

    Args:
        scores: (n,) higher means more likely a target.
        labels: (n,) 1 = target (bona fide, speech), 0 = not.

    Raises:
        BenchError: a score is not a number, a label is neither 0 nor 1, or one of the classes is missing.

    Example:
        >>> equal_error_rate([0.9, 0.8, 0.3, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0])
        33.33333333333333
    """
    scores, labels = np.asarray(scores, dtype=np.float64).ravel(), np.asarray(labels).ravel()
    if scores.shape != labels.shape:
        raise BenchError(f"equal error rate: {len(scores)} scores but {len(labels)} labels")
    if np.isnan(scores).any():
        raise BenchError(f"equal error rate: {int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    if not np.isin(labels, (0, 1)).all():
        raise BenchError("equal error rate: labels must be 1 (target) or 0")
    targets = int((labels == 1).sum())
    if targets in (0, len(labels)):
        raise BenchError(f"equal error rate: needs both classes, got {targets} targets among {len(labels)} items")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.r_[np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1]
    accepted = np.cumsum(labels[order] == 1)[last_of_tie]
    miss = 1 - np.r_[0, accepted] / targets
    false_alarm = np.r_[0, last_of_tie + 1 - accepted] / (len(labels) - targets)
    gap = miss - false_alarm  # falls from 1 to -1
    right = int(np.argmax(gap <= 0))
    weight = gap[right - 1] / (gap[right - 1] - gap[right])
    return float(100 * (false_alarm[right - 1] + weight * (false_alarm[right] - false_alarm[right - 1])))
