"""The table of scores: what the seeds say of each point, and how to read it."""

import math
from collections.abc import Mapping, Sequence

from bench.difference.matched import Matched
from bench.difference.scores import Scored, Verdict
from bench.difference.shown import Line, Sheet
from bench.report.numbers import number, percent, score, signed
from bench.stats.significance import LEVEL, seeds_needed

HEAD = ("method", "budget", "seeds", "A", "B", "gain", "± s.e.", "verdict")
SMALL = 0.005  # below this two decimals would hide a gain
STYLES = {"better": "green", "worse": "red", "same score": "dim"}


def score_sheet(found: Sequence[Verdict], apart: float | None) -> list[Line | Sheet]:
    """The table, and below it what its columns mean.

    Args:
        found: the verdicts.
        apart: the largest difference between two seeds of one point on one side, in the unit of the metric, if known.
    """
    if not found:
        return [Line("No point was chosen and scored on both sides.", "yellow")]
    rows, previous = [], None
    for one in found:
        point = one.scored.point
        rows.append([
            *(point.method if point.method != previous else "", percent(point.budget or float("nan")), _seeds(one)),
            *(_mean(one.first, one.scored.first), _mean(one.second, one.scored.second)),
            *(_gain(one), number(one.error, "{:.2g}"), _words(one)),
        ])  # fmt: skip
        previous = point.method
    styles = ["yellow" if one.large else STYLES.get(one.finding, "") for one in found]
    return [Sheet(HEAD, "llrrrrrl", rows, styles), *_legend(found, apart)]


def left_out(matched: Matched, scored: Sequence[Scored]) -> list[Line]:
    """Points that could not be compared, and what failed."""
    told = {id(one.point) for one in scored}
    lists = {
        "Only in A": matched.only_first,
        "Only in B": matched.only_second,
        "Without a score for every finished model": [p.label for p in matched.both if id(p) not in told],
    }
    said = [Line(f"{name}: {', '.join(points)}.", "yellow") for name, points in lists.items() if points]
    return [*said, *(Line(trouble, "yellow") for trouble in matched.troubles)]


def _mean(mean: float, seeds: Mapping[int, float]) -> str:
    """The mean, and of how many seeds if some failed."""
    finished = sum(map(math.isfinite, seeds.values()))
    return score(mean) + (f" ({finished} of {len(seeds)})" if finished < len(seeds) else "") if finished else "failed"


def _gain(one: Verdict) -> str:
    if not one.gain:
        return "" if one.gain is None else "0"
    return signed(one.gain) if abs(one.gain) >= SMALL else f"{one.gain:+.1g}"


def _seeds(one: Verdict) -> str:
    if one.scored.identical:
        return f"{len(one.scored.point.shared)} equal"
    if one.paired:
        return f"{len(one.scored.point.shared)} paired"
    return f"{len(one.scored.first)} + {len(one.scored.second)}"


def _words(one: Verdict) -> str:
    words: str = one.finding
    if one.large:
        words = f"{words}, but large"
    if one.p is not None:
        words = f"{words}, p = {one.p:.2g}"
    if one.scored.split == "dev":
        words = f"on dev: {words}"
    return f"{words} *" if one.scored.point.other_settings else words


def _legend(found: Sequence[Verdict], apart: float | None) -> list[Line]:
    said = []
    if tested := [one for one in found if one.p is not None]:
        said.append(
            f"Better and worse: a permutation test over seeds, p < {LEVEL:g} after Holm's correction over "
            f"{len(tested)} tested points. Within noise is no proof that nothing has changed."
        )
    few = [one for one in found if one.finding == "too few seeds to tell"]
    if few:
        family = len(few) + len(tested)
        pairs, each = (seeds_needed(paired=which, family=family) for which in (True, False))
        said.append(
            f"Too few seeds: no outcome could be significant. To tell all {family} points that are not the same needs "
            f"{pairs} paired seeds, or {each} + {each}."
        )
        said.append(
            "No point has two seeds on a side, so how far seeds differ is not known."
            if apart is None
            else f"Two seeds of one point on one side differ by up to {score(apart)}; more than that is large."
        )
    if any(one.error is not None for one in found):
        said.append("± s.e.: the standard error of the difference, from the spread of its seeds.")
    if any(one.scored.point.other_settings for one in found):
        said.append("* the searches chose other settings, which is a source of chance that the seeds do not show.")
    return [Line(text, "dim") for text in said]
