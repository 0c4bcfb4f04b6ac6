"""Whether the scores of matched points differ beyond noise, as far as the seeds can tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.difference.matched import Point
from bench.plugins.task import Metric
from bench.report.numbers import known
from bench.stats.estimates import Sign, sign_of
from bench.stats.significance import LEVEL, holm, permutation_test, smallest_p

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
