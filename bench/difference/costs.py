"""Which costs of matched points have changed: counted ones by any amount, latency beyond its own spread."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.difference.matched import Point
from bench.report.numbers import known, measured, short

#: column -> its name for a person; these are counted, so any change is a change
COUNTED = {
    "macs_ratio": "MACs of dense",
    "effective_macs_ratio": "non-zero MACs of dense",
    "size_bytes": "file size",
}
LATENCY = "latency_ratio"
SPREAD = "latency_spread"
#: how far repeated measurements of one model's latency ratio may lie apart where that was not recorded, as a share
USUAL_SPREAD = 0.03


@dataclass(frozen=True)
class Change:
    """A cost that is not what it was.

    Attributes:
        point: whose.
        cost: its name for a person.
        first: the mean in A, over the seeds that both have, or over all where they share none; as text with its unit.
        second: the mean in B.
        share: by what share of A it has grown.
        noise: what a latency may differ by without having changed, as a share; 0 for what is counted.
    """

    point: Point
    cost: str
    first: str
    second: str
    share: float
    noise: float


def changed_costs(points: Sequence[Point]) -> list[Change]:
    """The costs of the points that differ; costs that are not known on both sides are left out."""
    return [change for point in points for change in (*_counted(point), *_latency(point))]


def _counted(point: Point) -> list[Change]:
    found = []
    for column, name in COUNTED.items():
        one, other = _values(point, column)
        if one and other and one != other:
            form = (lambda mean: short(mean, "B")) if column == "size_bytes" else measured
            means = _mean(one), _mean(other)
            found.append(Change(point, name, form(means[0]), form(means[1]), _growth(*means), 0.0))
    return found


def _latency(point: Point) -> list[Change]:
    """Beyond the sum of both spreads (largest less smallest repeat, over the median) no repeats can have overlapped."""
    one, other = _values(point, LATENCY)
    if not (one and other):
        return []
    spreads = _values(point, SPREAD)
    noise = sum(max(side) for side in spreads) if all(spreads) else USUAL_SPREAD
    means = _mean(one), _mean(other)
    share = _growth(*means)
    texts = [f"x {mean:.3f}" for mean in means]
    return [Change(point, "latency ratio", texts[0], texts[1], share, noise)] if abs(share) > noise else []


def _values(point: Point, column: str) -> tuple[list[float], list[float]]:
    """What both sides know of a column, in the order of the seeds."""

    def of(side: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]) -> list[float]:
        return [float(side[seed][column]) for seed in seeds if known(side[seed].get(column))]

    shared = [s for s in point.shared if known(point.first[s].get(column)) and known(point.second[s].get(column))]
    return of(point.first, shared or sorted(point.first)), of(point.second, shared or sorted(point.second))


def _growth(first: float, second: float) -> float:
    return second / first - 1 if first else math.inf


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
