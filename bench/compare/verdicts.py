"""What differs between matched points: scores beyond noise, costs, and models that should have been the same."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.compare.sides import Point, Side
from bench.plugins.task import Metric
from bench.report.cells import known, measured, short
from bench.stats.estimates import Sign, sign_of
from bench.stats.significance import LEVEL, holm, permutation_test, smallest_p

#: column -> its name for a person; these are counted, so any change is a change
COUNTED = {"macs_ratio": "MACs of dense", "effective_macs_ratio": "non-zero MACs of dense", "size_bytes": "file size"}
#: how far repeated measurements of one model's latency ratio may lie apart where that was not recorded, as a share
USUAL_SPREAD = 0.03
#: what belongs to the comparison a model stands in, or to the machine's folders, and not to the model
NOT_THE_MODEL = ("task", "preset", "method", "stage", "control", "trial", "chosen", "reason", "run_id", "key")
#: how names of columns begin or end that hold times and memory, which no machine repeats
_MEASURED_BEFORE, _MEASURED_AFTER = ("latency",), ("_s", "_ms", "_mb")
Finding = Literal["same score", "within noise", "better", "worse", "too few seeds to tell", "failed in both"]
Seeds = Mapping[int, float]
Errors = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The scores of a point, by seed, in the unit of the metric; those of failed runs are infinitely bad.

    Attributes:
        point: the point.
        split: eval, or dev where a finished model has no eval score.
        first: scores of A.
        second: scores of B.
    """

    point: Point
    split: Literal["eval", "dev"]
    first: Seeds
    second: Seeds

    @property
    def identical(self) -> bool:
        """Whether the seeds that both have agree to the bit."""
        shared = self.point.shared
        return bool(shared) and all(self.first[seed] == self.second[seed] for seed in shared)

    def pairs(self, family: int) -> bool:
        """Whether to compare seed by seed: if a seed means the same start, and so many seeds can tell.

        Fewer can still tell if the runs are compared without their seeds, as 5 + 5 runs can be dealt in more ways than
        5 pairs can be flipped. What a start does to both sides then counts as noise, which only makes it harder to find
        a difference. It is decided by how many seeds there are, never by what they scored.
        """
        paired, loose = smallest_p(len(self.point.shared)), smallest_p(len(self.first), len(self.second))
        return self.point.same_start and not loose < LEVEL / family <= paired


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of a point.

    Attributes:
        scored: its scores.
        paired: whether it was compared seed by seed; then seeds that only one side has do not count.
        first: mean score of A over the finished runs that were compared, in the unit of the metric; NaN if none.
        second: mean score of B.
        gain: by how much B is better, in the unit of the metric; None where a run failed.
        error: standard error of the gain; None with fewer than two seeds on a side, a failed run, or none to show.
        p: two-sided p of a permutation test, after Holm's correction over all points tested; None without a test.
        finding: the verdict.
        large: no test, but a gain larger than any difference between two seeds of one point on one side.
    """

    scored: Scored
    paired: bool
    first: float
    second: float
    gain: float | None
    error: float | None
    p: float | None
    finding: Finding
    large: bool


def scored_points(points: Sequence[Point], metric: Metric) -> list[Scored]:
    """The points that have a score for every finished model on both sides, on eval or else on dev."""
    found = []
    for point in points:
        for split in ("eval", "dev"):
            column = f"{split}_{metric.column}"
            sides = [
                {s: metric.worst if row["status"] == "failed" else row[column] for s, row in runs.items()}
                for runs in (point.first, point.second)
            ]
            if all(known(value) for side in sides for value in side.values()):
                found.append(Scored(point, "eval" if split == "eval" else "dev", sides[0], sides[1]))
                break
    return found


def verdicts(scored: Sequence[Scored], metric: Metric) -> list[Verdict]:
    """What the seeds say of every point.

    Points whose scores are the same to the bit with every shared seed are no part of the family that Holm's correction
    counts: flipping the signs of zeros leaves zeros, so the tests of the others are as valid knowing which those are.
    A point that so few seeds could never tell apart is no part of it either.
    """
    family = [one for one in scored if not one.identical and _can_tell(one)]
    sign, apart, count = sign_of(metric), seed_difference(scored), max(1, len(family))
    tests = [
        permutation_test(one.second, one.first, sign=sign, paired=one.pairs(count), family=count).p for one in family
    ]
    corrected = {id(one): p for one, p in zip(family, holm(tests), strict=True)}
    return [_verdict(one, sign, one.pairs(count), corrected.get(id(one)), apart) for one in scored]


def seed_difference(scored: Sequence[Scored]) -> float | None:
    """The largest difference between two finished seeds of one point on one side; None if nowhere there are two."""
    sides = [[s for s in side.values() if math.isfinite(s)] for one in scored for side in (one.first, one.second)]
    return max((max(scores) - min(scores) for scores in sides if len(scores) > 1), default=None)


def _can_tell(one: Scored) -> bool:
    pairs = len(one.point.shared) if one.point.same_start else 0
    return min(smallest_p(pairs), smallest_p(len(one.first), len(one.second))) < LEVEL


def _verdict(one: Scored, sign: Sign, by_seed: bool, p: float | None, apart: float | None) -> Verdict:
    paired = one.identical or (by_seed and bool(one.point.shared))
    first, second = (
        sign * np.array([scores[seed] for seed in (one.point.shared if paired else sorted(scores))], dtype=np.float64)
        for scores in (one.first, one.second)
    )
    means = [
        sign * float(side[np.isfinite(side)].mean()) if np.isfinite(side).any() else math.nan
        for side in (first, second)
    ]
    finished = bool(np.isfinite(np.r_[first, second]).all())
    gain = float(first.mean() - second.mean()) if finished else None
    finding: Finding = "too few seeds to tell"
    if one.identical:
        finding = "same score" if np.isfinite(first).any() else "failed in both"
    elif p is not None:
        finding = "within noise" if p >= LEVEL else "better" if (gain or _ahead(first, second, paired)) > 0 else "worse"
    above = gain is not None and apart is not None and abs(gain) > apart
    large = above and finding == "too few seeds to tell"
    error = _standard_error(first, second, paired) if finished and not one.identical else None
    return Verdict(one, paired, means[0], means[1], gain, error, p, finding, large)


def _ahead(first: Errors, second: Errors, paired: bool) -> int:
    """In how many more couples of runs B has the smaller error: the direction, where errors may be infinite."""
    left, right = (first, second) if paired else (first[:, None], second[None, :])
    return int((left > right).sum() - (left < right).sum())


def _standard_error(first: Errors, second: Errors, paired: bool) -> float | None:
    """Of the difference of the means, as far as the seeds show it."""
    if min(len(first), len(second)) < 2:
        return None
    parts = [second - first] if paired else [first, second]
    return math.sqrt(sum(float(part.var(ddof=1)) / len(part) for part in parts))


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
    one, other = _values(point, "latency_ratio")
    if not (one and other):
        return []
    spreads = _values(point, "latency_spread")
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


@dataclass(frozen=True)
class Disagreement:
    """A model that was trained twice under the same key and came out differently.

    Attributes:
        method: its method.
        seed: its seed.
        key: its key.
        columns: value in A and value in B of every column that differs.
    """

    method: str
    seed: int
    key: str
    columns: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Repeated:
    """What the keys of two result sets tell.

    Attributes:
        agreeing: how many models, by method, have the same key and agree to the bit.
        disagreeing: those that do not.
        only_first: how many keys, by method, only A has.
        only_second: likewise B.
    """

    agreeing: Counter[str]
    disagreeing: list[Disagreement]
    only_first: Counter[str]
    only_second: Counter[str]


def repeated_models(first: Side, second: Side) -> Repeated:
    """Compare the models that have the same key, in all columns but times and memory; nothing if keys are unknown."""
    one, other = _by_key(first), _by_key(second)
    if not (one and other):
        return Repeated(Counter(), [], Counter(), Counter())
    columns = [name for name in first.table if name in second.table and _of_the_model(str(name))]
    agreeing: Counter[str] = Counter()
    disagreeing = []
    for key in (key for key in one if key in other):
        pairs = {str(name): (one[key][str(name)], other[key][str(name)]) for name in columns}
        differing = {name: (a, b) for name, (a, b) in pairs.items() if known(a) and known(b) and a != b}
        if differing:
            disagreeing.append(Disagreement(str(one[key]["method"]), int(one[key]["seed"]), key, differing))
        else:
            agreeing[str(one[key]["method"])] += 1
    only = [Counter(str(a[key]["method"]) for key in a if key not in b) for a, b in ((one, other), (other, one))]
    return Repeated(agreeing, disagreeing, *only)


def _by_key(side: Side) -> dict[str, dict[str, Any]]:
    return {str(row["key"]): row for row in side.rows if known(row.get("key"))}


def _of_the_model(column: str) -> bool:
    return not (column in NOT_THE_MODEL or column.startswith(_MEASURED_BEFORE) or column.endswith(_MEASURED_AFTER))
