"""What differs between two result sets: scores and costs of their points, and models that should have been the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from bench.compare.sides import Side
from bench.plugins.task import Metric
from bench.report.cells import Form, in_bytes, measured, percent, written
from bench.results.selection import budget_class
from bench.stats.estimates import Array, Sign, sign_of
from bench.stats.significance import LEVEL, TOO_FEW, holm, permutation_test, smallest_p

#: column -> its name for a person and its form; all but latency are counted, so any change is a change
COSTS: dict[str, tuple[str, Form]] = {
    "macs_ratio": ("MACs of dense", measured),
    "effective_macs_ratio": ("non-zero MACs of dense", measured),
    "size_bytes": ("file size", in_bytes),
    "memory_bytes": ("peak memory", in_bytes),
    "latency_ratio": ("latency ratio", written(".3f", "x ")),
}
#: how far repeated measurements of one model's latency ratio may lie apart where that was not recorded, as a share
USUAL_SPREAD = 0.03
#: what belongs to the comparison a model stands in, or to the machine's folders, and not to the model
NOT_THE_MODEL = ("task", "preset", "method", "stage", "control", "trial", "chosen", "reason", "run_id", "key")
#: how names of columns begin or end that hold times and memory, which no machine repeats
_MEASURED_BEFORE, _MEASURED_AFTER = ("latency",), ("_s", "_ms", "_mb")


@dataclass(frozen=True)
class Point:
    """A method at a budget, chosen on both sides.

    Attributes:
        budget: share of the dense compute; infinite for a method without budgets.
        first: the trained models of A, rows of the table by seed.
        second: those of B.
        same_start: whether a seed means the same start on both sides.
    """

    method: str
    budget: float
    first: pd.DataFrame
    second: pd.DataFrame
    same_start: bool

    @property
    def shared(self) -> list[int]:
        """The seeds that both have."""
        return sorted({*self.first.index} & {*self.second.index})

    @property
    def label(self) -> str:
        return named(self.method, self.budget)

    @property
    def other_settings(self) -> bool:
        """Whether the searches are known to have chosen different settings, a chance that seeds know nothing of."""
        one, other = ({str(v) for v in trials.get("settings", [])} for trials in (self.first, self.second))
        return bool(one and other) and one != other

    def scores(self, metric: Metric) -> tuple[str, pd.Series, pd.Series] | None:
        """On eval, or else on dev, with which of them; None if a finished model has neither; failed ones are worst."""
        for split in ("eval", "dev"):
            column = f"{split}_{metric.column}"
            first, second = (
                trials[column].mask(trials["status"] == "failed", metric.worst) for trials in (self.first, self.second)
            )
            if first.notna().all() and second.notna().all():
                return split, first, second
        return None


@dataclass(frozen=True)
class Matched:
    """The points of two result sets: those chosen on both sides, and the names of those that only one side has.

    ``troubles`` says what failed, missed its budget or was declined on either side, one sentence each.
    """

    both: list[Point]
    only_first: list[str]
    only_second: list[str]
    troubles: list[str]


def named(method: str, budget: float) -> str:
    """A method and its budget in words.

    >>> named("feature_noise", 0.25), named("dense", math.inf)
    ('feature_noise at 25 %', 'dense')
    """
    return f"{method} at {percent(budget)}" if math.isfinite(budget) else method


def match_points(first: Side, second: Side) -> Matched:
    """Match the chosen points; where both sides say their budgets, a point stands for the one it was chosen for."""
    classed = bool(first.index and second.index)
    tables = [_chosen(side, classed) for side in (first, second)]
    groups = [table[table["status"] != "declined"].groupby(["method", "budget"]) for table in tables]
    one, other = (dict[Any, pd.DataFrame](list(group)) for group in groups)
    names: list[tuple[str, float]] = sorted({*one, *other}, key=lambda name: (name[0], -name[1]))
    both = []
    for method, budget in names:
        if (method, budget) in one and (method, budget) in other:
            own = one[method, budget], other[method, budget]
            both.append(Point(method, budget, *own, same_start=classed and _same_start(first, second, *own)))
    only_first, only_second = ([named(*name) for name in names if name not in rest] for rest in (other, one))
    return Matched(both, only_first, only_second, [*_troubles("A", tables[0]), *_troubles("B", tables[1])])


def _chosen(side: Side, classed: bool) -> pd.DataFrame:
    """The chosen models by seed, with the budgets that they stand for; infinite where their method has none."""
    table = side.table[side.table["chosen"]]
    budgets = [budget_class(asked, side.index["budgets"]) if classed else asked for asked in table["budget"]]
    table = table.assign(budget=pd.Series(budgets, index=table.index, dtype=float).fillna(math.inf))
    return table.drop_duplicates(["method", "budget", "seed"], keep="last").set_index("seed")


def _troubles(label: str, chosen: pd.DataFrame) -> list[str]:
    """Chosen points that are not complete, the seeds of a point in one sentence; who declined is said once."""
    rows, said = chosen[chosen["status"] != "complete"], []
    rows = rows.assign(budget=rows["budget"].mask(rows["status"] == "declined", math.inf))
    groups = dict[Any, pd.DataFrame](list(rows.groupby(["status", "method", "budget"], sort=False)))
    for (status, method, budget), own in groups.items():
        seeds = f", seed{'s' * (len(own) > 1)} {', '.join(map(str, sorted(own.index)))}"
        said.append(f"{label} {status}: {named(method, budget)}{'' if status == 'declined' else seeds}")
    return said


def _same_start(first: Side, second: Side, one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether a seed stands for the same data, weights at the start and batches on both sides, as far as is recorded.

    The dense models that a post-hoc method starts from must have the same dev scores.
    """
    seeds = one.index.intersection(other.index)
    if seeds.empty or any(first.setting.get(name) != second.setting.get(name) for name in ("data", "plan", "fields")):
        return False
    if one["stage"].iloc[0] != "post_hoc":
        return True
    ours, theirs = (
        [side.checkpoints.get((seed, trials.loc[seed].get("dense_share"))) for seed in seeds]
        for side, trials in ((first, one), (second, other))
    )
    return None not in ours and ours == theirs


def verdicts(points: Sequence[Point], metric: Metric) -> pd.DataFrame:
    """What the seeds say of every point that has a score for each finished model on both sides.

    Points whose scores are the same to the bit with every shared seed are no part of the family that Holm's correction
    counts: flipping the signs of zeros leaves zeros, so the tests of the others are as valid knowing which those are.
    A point that so few seeds could never tell apart is no part of it either.

    Returns:
        Columns: point, method; split (eval, or dev where a finished model has no eval score); scores_first,
        scores_second (by seed, those of failed trials infinitely bad); identical (to the bit, with every shared seed);
        paired (compared seed by seed, without the seeds that only one side has); first, second (means over the
        finished trials that were compared); gain (by how much B is better; NaN where a trial failed); error (standard
        error of the gain; NaN with fewer than two seeds on a side); p (two-sided, of a permutation test, after Holm's
        correction over all points tested; NaN without a test); finding; large (no test, but a gain above
        ``seed_difference``). Scores are in the unit of the metric.
    """
    rows: list[dict[str, Any]] = []
    for point in points:
        if (scores := point.scores(metric)) is not None:
            shared, (split, first, second) = point.shared, scores
            identical = bool(shared) and bool((first[shared] == second[shared]).all())
            rows.append({"point": point, "method": point.method, "split": split, "identical": identical})
            rows[-1] |= {"scores_first": first, "scores_second": second}
    family = [row for row in rows if not row["identical"] and _can_tell(row["point"])]
    sign, tests = sign_of(metric), []
    for row in rows:
        row["paired"] = row["identical"] or _by_seed(row["point"], max(1, len(family)))
    for row in family:
        one, other = row["scores_first"].to_dict(), row["scores_second"].to_dict()
        tests.append(permutation_test(other, one, sign=sign, paired=row["paired"], family=len(family)).p)
    corrected = {id(row): p for row, p in zip(family, holm(tests), strict=True)}
    judged = [row | _judged(row, corrected.get(id(row)), sign) for row in rows]
    names = "point method split scores_first scores_second identical paired first second gain error p finding".split()
    table = pd.DataFrame(judged, columns=names)
    above = table["gain"].abs() > seed_difference(table)
    return table.assign(large=above & (table["finding"] == TOO_FEW))


def seed_difference(found: pd.DataFrame) -> float:
    """The largest difference between two finished seeds of one point on one side; NaN if nowhere there are two."""
    sides = [trials[np.isfinite(trials)] for trials in (*found["scores_first"], *found["scores_second"])]
    return max((float(trials.max() - trials.min()) for trials in sides if len(trials) > 1), default=math.nan)


def _can_tell(point: Point) -> bool:
    pairs = len(point.shared) if point.same_start else 0
    return min(smallest_p(pairs), smallest_p(len(point.first), len(point.second))) < LEVEL


def _by_seed(point: Point, family: int) -> bool:
    """Whether to compare seed by seed: if a seed means the same start, and so many seeds can tell.

    Fewer can still tell if the trials are compared without their seeds, as 5 + 5 trials can be dealt in more ways than
    5 pairs can be flipped. What a start does to both sides then counts as noise, which only makes it harder to find
    a difference. It is decided by how many seeds there are, never by what they scored.
    """
    paired, loose = smallest_p(len(point.shared)), smallest_p(len(point.first), len(point.second))
    return point.same_start and not loose < LEVEL / family <= paired


def _judged(row: Mapping[str, Any], p: float | None, sign: Sign) -> dict[str, Any]:
    """The columns from ``first`` to ``finding``."""
    paired = row["paired"]
    scores = [
        trials[row["point"].shared] if paired else trials for trials in (row["scores_first"], row["scores_second"])
    ]
    first, second = (sign * trials.to_numpy(dtype=float) for trials in scores)  # as errors
    means = {name: trials[np.isfinite(trials)].mean() for name, trials in zip(("first", "second"), scores, strict=True)}
    finished = bool(np.isfinite(np.r_[first, second]).all())
    gain = float(first.mean() - second.mean()) if finished else math.nan
    finding = TOO_FEW
    if row["identical"]:
        finding = "same score" if np.isfinite(first).any() else "failed in both"
    elif p is not None:
        ahead = gain if finished and gain else _ahead(first, second, paired)
        finding = "within noise" if p >= LEVEL else "better" if ahead > 0 else "worse"
    error = _standard_error(first, second, paired) if finished and not row["identical"] else math.nan
    return {**means, "gain": gain, "error": error, "p": math.nan if p is None else p, "finding": finding}


def _ahead(first: Array, second: Array, paired: bool) -> int:
    """In how many more couples of trials B has the smaller error: the direction, where errors may be infinite."""
    left, right = (first, second) if paired else (first[:, None], second[None, :])
    return int((left > right).sum() - (left < right).sum())


def _standard_error(first: Array, second: Array, paired: bool) -> float:
    """Of the difference of the means, as far as the seeds show it."""
    if min(len(first), len(second)) < 2:
        return math.nan
    parts = [second - first] if paired else [first, second]
    return math.hypot(*map(scipy.stats.sem, parts))


def changed_costs(points: Sequence[Point]) -> pd.DataFrame:
    """The costs of the points that differ; costs that are not known on both sides are left out.

    Of latency a change counts beyond the sum of both spreads (largest less smallest repeat, over the median): then no
    repeats can have overlapped.

    Columns: method, budget, cost (in words); first, second (means over the seeds that both have, or over all where
    they share none; as text with the unit); share (by what share of A it has grown); noise (what a latency may differ
    by without having changed, as a share; 0 for what is counted).
    """
    rows = []
    for point in points:
        for column, (name, form) in COSTS.items():
            one, other = _known_values(point, column)
            if one.empty or other.empty or list(one) == list(other):
                continue
            before, after = float(one.mean()), float(other.mean())
            share = after / before - 1 if before else math.inf
            noise = _latency_noise(point) if column == "latency_ratio" else 0.0
            if column != "latency_ratio" or abs(share) > noise:
                rows.append((point.method, point.budget, name, form(before), form(after), share, noise))
    return pd.DataFrame(rows, columns=["method", "budget", "cost", "first", "second", "share", "noise"])


def _latency_noise(point: Point) -> float:
    spreads = _known_values(point, "latency_spread")
    return USUAL_SPREAD if any(side.empty for side in spreads) else float(sum(side.max() for side in spreads))


def _known_values(point: Point, column: str) -> tuple[pd.Series, pd.Series]:
    """What both sides know of a column."""
    one, other = (
        trials.get(column, pd.Series(dtype=float)).dropna().astype(float) for trials in (point.first, point.second)
    )
    shared = [seed for seed in point.shared if seed in one.index and seed in other.index]
    return (one[shared], other[shared]) if shared else (one, other)


def repeated_models(first: Side, second: Side) -> pd.DataFrame:
    """Compare the models that have the same key, in all columns but times and memory.

    One row for each key: key, method, seed, side (A, B or both), and ``differing``: value in A and value in B of every
    column that both know and that differs, by name. Empty if either side knows no keys.
    """
    tables = [side.table.dropna(subset="key") if "key" in side.table else pd.DataFrame() for side in (first, second)]
    if any(table.empty for table in tables):
        return pd.DataFrame(columns=["key", "method", "seed", "side", "differing"])
    one, other = (table.drop_duplicates("key", keep="last").set_index("key", drop=False) for table in tables)
    columns = [name for name in one if name in other and _of_the_model(str(name))]
    shared = [key for key in one.index if key in other.index]
    a, b = one.loc[shared, columns].astype(object), other.loc[shared, columns].astype(object)
    differs = (a != b) & a.notna() & b.notna()
    differing: dict[Any, dict[Any, Any]] = {
        key: {name: (a.at[key, name], b.at[key, name]) for name in columns if differs.at[key, name]} for key in shared
    }
    found = pd.concat([one, other.drop(shared)])[["key", "method", "seed"]]
    sides = ["both" if key in differing else "A" if key in one.index else "B" for key in found.index]
    values = pd.Series([differing.get(key, {}) for key in found.index], found.index, dtype=object)
    return found.assign(side=sides, differing=values)


def _of_the_model(column: str) -> bool:
    return not (column in NOT_THE_MODEL or column.startswith(_MEASURED_BEFORE) or column.endswith(_MEASURED_AFTER))
