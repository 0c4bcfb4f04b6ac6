"""A number with its interval, and whether small or large is good."""

from dataclasses import dataclass
from typing import Literal

from bench.task import Metric

#: 1 where small scores are good, -1 where large ones are: sign * score is an error
Sign = Literal[1, -1]
SMALL_IS_GOOD: Sign = 1
LARGE_IS_GOOD: Sign = -1

Over = Literal["seeds and items", "seeds", "items", "nothing"]


def sign_of(metric: Metric) -> Sign:
    """1 where small scores are good, -1 where large ones are."""
    return SMALL_IS_GOOD if metric.direction == "minimize" else LARGE_IS_GOOD


@dataclass(frozen=True)
class Estimate:
    """A number and how far it can be trusted.

    Attributes:
        value: the number itself, from all seeds and items; infinite where there is none (nothing within the budget).
        low: lower end of the interval, in the unit of the value; None where nothing could be drawn again (one seed).
        high: upper end, likewise.
        over: what was drawn again; the interval knows nothing of other sources of chance.
        n: number of seeds.
        items: number of evaluation items drawn again; 0 where ``over`` does not name them.
        confidence: nominal share of such intervals that hold the truth.
    """

    value: float
    low: float | None
    high: float | None
    over: Over
    n: int
    items: int = 0
    confidence: float = 0.95
