"""Bootstrap intervals that stay honest with few seeds and with failures that count as infinite."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Draw = NDArray[np.intp]
#: maps what was drawn from each sample, shapes (..., n of that sample), to the statistic, shape (...)
Statistic = Callable[..., NDArray[np.float64]]


@dataclass(frozen=True)
class Resampling:
    """How an interval is drawn.

    Attributes:
        resamples: number of resamples.
        confidence: nominal share of such intervals that hold the truth, in (0, 1).
        method: ``percentile``, widened for few seeds, or ``bca`` (Efron 1987), which corrects bias and skewness but
            not the small number of seeds, and is not meant for statistics that jump, such as a minimum; where it does
            not exist (equal values, infinite ones) the percentile interval is given.
        seed: of the generator; the same seed gives the same interval.
    """

    resamples: int = 2000
    confidence: float = 0.95
    method: Literal["percentile", "bca"] = "percentile"
    seed: int = 0


DEFAULT = Resampling()


def tail(n: int, confidence: float) -> float:
    """The share of the bootstrap distribution that is cut off at either end.

    A plain percentile interval over n seeds is too short: it divides by n instead of n - 1 and takes the normal for
    Student's distribution. The remedy is to cut less (the expanded percentile interval, Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap", The American Statistician 69). Below about five seeds nothing is cut, and
    then the interval is the range of the seeds, which no bootstrap leaves: for means of symmetric scores it cannot hold
    the truth more often than 1 - 2 / 2**n, which is 75 % with three seeds and 94 % with five.

    Args:
        n: independent units of the scarcest kind, at least 2.
        confidence: nominal coverage.
    """
    student = float(stats.t.ppf((1 - confidence) / 2, n - 1))
    return float(stats.norm.cdf(math.sqrt(n / (n - 1)) * student))


def interval(statistic: Statistic, samples: Sequence[Draw], resampling: Resampling) -> tuple[float, float]:
    """The bootstrap interval of a statistic of one or more samples that are drawn independently of each other.

    Args:
        statistic: see ``Statistic``; its values may be infinite, but not NaN.
        samples: the numbers of what can be drawn, each of shape (n,) with n at least 2; the first is the scarcest. All
            resamples are drawn in one call of the statistic.
        resampling: how.

    Returns:
        Lower and upper end, in the unit of the statistic. Ends lie on values that were drawn, never between a finite
        and an infinite one.

    Raises:
        ValueError: a sample has fewer than two entries, or the statistic is NaN.
    """

    def along_last(*drawn: Draw, axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(statistic(*drawn), dtype=np.float64)

    def drawn(**options: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # degenerate data, which is looked at below
            return stats.bootstrap(
                tuple(samples),
                along_last,
                confidence_level=resampling.confidence,
                vectorized=True,
                **options,
            )

    plain = drawn(n_resamples=resampling.resamples, method="percentile", rng=np.random.default_rng(resampling.seed))
    values = cast("NDArray[np.float64]", plain.bootstrap_distribution)
    percentiles = ends(values, len(samples[0]), resampling.confidence)
    if resampling.method == "bca" and np.isfinite(values).all() and values.min() < values.max():
        corrected = drawn(n_resamples=0, method="BCa", bootstrap_result=plain).confidence_interval
        if np.isfinite([corrected.low, corrected.high]).all():
            return float(corrected.low), float(corrected.high)
    return percentiles


def ends(values: NDArray[np.float64], n: int, confidence: float) -> tuple[float, float]:
    """The ends of the percentile interval, widened for few units.

    Args:
        values: of the statistic, one for each resample; they may be infinite.
        n: independent units of the scarcest kind, at least 2.
        confidence: nominal coverage.

    Raises:
        ValueError: a value is NaN.
    """
    if np.isnan(values).any():
        raise ValueError("the statistic is not a number for some resamples: pass failures as infinite errors")
    ordered = np.sort(values)
    cut = math.floor(tail(n, confidence) * (len(ordered) - 1))
    return float(ordered[cut]), float(ordered[len(ordered) - 1 - cut])
