"""What is said of two result sets, from how they were made to the closing sentence."""

import math
from collections.abc import Mapping, Sequence

from bench.compare.sides import Matched, Side, decisive, match_points, origins_differing
from bench.compare.verdicts import (
    USUAL_SPREAD,
    Change,
    Finding,
    Repeated,
    Scored,
    Verdict,
    changed_costs,
    repeated_models,
    scored_points,
    seed_difference,
    verdicts,
)
from bench.report.cells import metric_name, percent, score, signed, tenths
from bench.report.document import Column, Piece, Row, Section, Table, Text
from bench.stats.significance import LEVEL, seeds_needed

SMALL = 0.005  # below this two decimals would hide a gain
SHOWN = 3  # points named in a sentence
STYLES = {"better": "good", "worse": "bad", "same score": "soft"}
WORDS: dict[Finding, str] = {
    "within noise": "within noise",
    "same score": "with the same score",
    "failed in both": "failed in both",
}


def comparison_sections(first: Side, second: Side) -> list[Section]:
    """Everything there is to say, in the order in which it is read."""
    matched, repeated = match_points(first, second), repeated_models(first, second)
    scored = scored_points(matched.both, first.metric)
    found, costs = verdicts(scored, first.metric), changed_costs(matched.both)
    scores = f"Scores ({metric_name(first.metric)}; a gain above 0 means that B is better)"
    closing = closing_sentence(found, costs, repeated, len(matched.only_first) + len(matched.only_second))
    return [
        Section(f"{first.name} against {second.name}", [Text(f"A: {first.path}"), Text(f"B: {second.path}")]),
        Section("How they were made", _origin(first, second)),
        Section("Models with the same key", _repeated(repeated)),
        Section(scores, [*_scores(found, seed_difference(scored)), *_left_out(matched, scored)]),
        Section("Costs", _costs(costs, len(matched.both))),
        Section("Does anything differ beyond noise?", [Text(closing, "strong")]),
    ]


def _origin(first: Side, second: Side) -> list[Piece]:
    said: list[Piece] = [
        Text(f"{label} is a points.csv, which does not say how it was made.", "warning")
        for label, side in (("A", first), ("B", second))
        if side.index is None
    ]
    one, other = first.setting.get("data"), second.setting.get("data")
    if one and other and one != other:
        digests = f"digest A {one}, digest B {other}"
        said.append(Text(f"The two were trained on different data ({digests}): scores do not compare.", "warning"))
    differing = origins_differing(first, second)
    if names := decisive(differing):
        said.append(Text(f"Numbers need not agree, because these differ: {', '.join(names)}.", "warning"))
    if differing:
        columns = [Column(header, "text") for header in ("", "A", "B")]
        said.append(Table(columns, [Row(row) for row in differing]))
    return said or [Text("Both were made in the same way.")]


def _repeated(repeated: Repeated) -> list[Piece]:
    agreeing, failed = repeated.agreeing.total(), repeated.disagreeing
    said: list[Piece] = []
    if failed:
        head = f"{len(failed)} of {_count(agreeing + len(failed), 'model')} with the same key differ."
        why = "A key names everything that should decide a result, so these could not be reproduced."
        said.append(Text(f"{head} {why}", "bad"))
    for method in dict.fromkeys(one.method for one in failed):  # one line each, with one of its models
        own = [one for one in failed if one.method == method]
        name, (one, other) = next(iter(own[0].columns.items()))
        columns = ", ".join(dict.fromkeys(name for one in own for name in one.columns))
        such_as = f"{own[0].key}, seed {own[0].seed}: {name} {one} in A, {other} in B"
        said.append(Text(f"{method}: {len(own)}, in {columns}; such as {such_as}", "bad"))
    if agreeing:
        whose = f"{_count(agreeing, 'model')} with the same key"
        said.append(Text(f"{whose} {'agrees' if agreeing == 1 else 'agree'} to the bit in all but times and memory."))
    for label, only in (("A", repeated.only_first), ("B", repeated.only_second)):
        if only:
            each = ", ".join(f"{method} {count}" for method, count in sorted(only.items()))
            said.append(Text(f"Keys only in {label}: {only.total()} ({each})."))
    return said or [Text("The keys of the models are not known on both sides.")]


def _scores(found: Sequence[Verdict], apart: float | None) -> list[Piece]:
    """The table, and below it what its columns mean.

    Args:
        found: the verdicts.
        apart: the largest difference between two seeds of one point on one side, in the unit of the metric, if known.
    """
    if not found:
        return [Text("No point was chosen and scored on both sides.", "warning")]
    rows, previous = [], None
    for one in found:
        point, error = one.scored.point, "" if one.error is None else f"{one.error:.2g}"
        name = point.method if point.method != previous else ""
        means = _mean(one.first, one.scored.first), _mean(one.second, one.scored.second)
        cells = [name, percent(point.budget or math.nan), _seeds(one), *means, _gain(one), error, _verdict(one)]
        rows.append(Row(cells, "warning" if one.large else STYLES.get(one.finding, "")))
        previous = point.method
    texts, numbers = ("method", "budget"), ("seeds", "A", "B", "gain", "± s.e.")
    columns = [*(Column(text, "text") for text in texts), *map(Column, numbers), Column("verdict", "text")]
    return [Table(columns, rows), *(Text(text, "soft") for text in _legend(found, apart))]


def _mean(mean: float, seeds: Mapping[int, float]) -> str:
    """The mean, and of how many seeds if some failed."""
    finished = sum(map(math.isfinite, seeds.values()))
    return score(mean) + (f" ({finished} of {len(seeds)})" if finished < len(seeds) else "") if finished else "failed"


def _gain(one: Verdict) -> str:
    if not one.gain:
        return "" if one.gain is None else "0"
    return signed(one.gain) if abs(one.gain) >= SMALL else f"{one.gain:+.1g}"


def _seeds(one: Verdict) -> str:
    if one.scored.identical or one.paired:
        return f"{len(one.scored.point.shared)} {'equal' if one.scored.identical else 'paired'}"
    return f"{len(one.scored.first)} + {len(one.scored.second)}"


def _verdict(one: Verdict) -> str:
    words = f"{one.finding}, but large" if one.large else one.finding
    words += "" if one.p is None else f", p = {one.p:.2g}"
    words = f"on dev: {words}" if one.scored.split == "dev" else words
    return f"{words} *" if one.scored.point.other_settings else words


def _legend(found: Sequence[Verdict], apart: float | None) -> list[str]:
    said = []
    if tested := [one for one in found if one.p is not None]:
        said.append(
            f"Better and worse: a permutation test over seeds, p < {LEVEL:g} after Holm's correction over "
            f"{_count(len(tested), 'tested point')}. Within noise does not prove that nothing has changed."
        )
    if few := _with(found, "too few seeds to tell"):
        family = len(few) + len(tested)
        pairs, each = (seeds_needed(paired=which, family=family) for which in (True, False))
        said.append(
            f"Too few seeds: no outcome could be significant. To tell all {family} points that are not the same needs "
            f"{pairs} paired seeds, or {each} + {each}."
        )
        said.append(
            "No point has two seeds on one side, so it is not known how much seeds differ."
            if apart is None
            else f"Two seeds of one point on one side differ by up to {score(apart)}; more than that is large."
        )
    if any(one.error is not None for one in found):
        said.append("± s.e.: the standard error of the difference, from the spread of its seeds.")
    if any(one.scored.point.other_settings for one in found):
        said.append("* the searches chose other settings, which is a source of chance that the seeds do not show.")
    return said


def _left_out(matched: Matched, scored: Sequence[Scored]) -> list[Piece]:
    """Points that could not be compared, and what failed."""
    told = {id(one.point) for one in scored}
    lists = {
        "Only in A": matched.only_first,
        "Only in B": matched.only_second,
        "Without a score for every finished model": [p.label for p in matched.both if id(p) not in told],
    }
    said = [f"{name}: {', '.join(points)}." for name, points in lists.items() if points]
    return [Text(text, "warning") for text in (*said, *matched.troubles)]


def _costs(changes: Sequence[Change], points: int) -> list[Piece]:
    if not changes:
        return [Text(f"No cost differs at {_count(points, 'point')}.")]
    rows, previous = [], None
    for one in changes:
        point, noise = one.point, tenths(one.noise) if one.noise else "counted"
        name = (point.method, percent(point.budget or math.nan)) if point.label != previous else ("", "")
        rows.append(Row([*name, one.cost, one.first, one.second, f"{100 * one.share:+.1f} %", noise]))
        previous = point.label
    rule = (
        "Means over the seeds that both have. What is counted has changed if it differs at all, and widths that are "
        "learned differ whenever training does. Latency has changed if it differs by more than both measured "
        f"spreads together, or {100 * USUAL_SPREAD:g} % where no spread was recorded."
    )
    columns = [
        *(Column(text, "text") for text in ("method", "budget", "cost")),
        *map(Column, ("A", "B", "change", "noise")),
    ]
    return [Table(columns, rows), Text(rule, "soft")]


def closing_sentence(found: Sequence[Verdict], costs: Sequence[Change], repeated: Repeated, alone: int) -> str:
    """One sentence that says whether anything differs beyond noise, and what could not be answered.

    Args:
        found: what the seeds say of every point.
        costs: the costs that have changed.
        repeated: what the keys tell.
        alone: how many points only one side has.
    """
    beyond, points = [one for one in found if one.finding in ("better", "worse")], _count(len(found), "point")
    scores = "scores" if len(beyond) == 1 else "score"
    differing = [
        *([f"{len(beyond)} of {points} {scores} differently beyond noise ({_named(beyond)})"] if beyond else []),
        *([f"{_count(len(costs), 'cost')} changed"] if costs else []),
        *([f"{_count(len(failed), 'model')} could not be reproduced"] if (failed := repeated.disagreeing) else []),
    ]
    open_, same = (_with(found, finding) for finding in ("too few seeds to tell", "same score"))
    rest = [f"{len(open_)} of {points} with too few seeds to tell{_largest(open_)}"] if open_ else []
    rest += [f"{len(own)} {words}" for finding, words in WORDS.items() if (own := _with(found, finding))]
    rest += [f"{_count(alone, 'point')} only on one side"] if alone else []
    if differing:
        return f"Yes: {'; '.join([*differing, *rest])}."
    if not found:
        return "Nothing can be said: no point was chosen and scored on both sides."
    if len(same) == len(found) and not alone:
        return f"No: {'all ' if len(found) > 1 else ''}{points} with the same scores and costs."
    if open_:
        head = "The seeds cannot tell" if len(open_) == len(found) else "Not as far as the seeds can tell"
        return f"{head}: {'; '.join(rest)}."
    return f"No difference beyond noise was found: {'; '.join(rest)}."


def _largest(open_: Sequence[Verdict]) -> str:
    """What a reader should look at, although the seeds cannot tell."""
    if large := [one for one in open_ if one.large]:
        return f", but {len(large)} differing by more than any two seeds seen here ({_named(large)})"
    return f", the largest difference: {_named(open_, 1)}"


def _with(found: Sequence[Verdict], finding: Finding) -> list[Verdict]:
    return [one for one in found if one.finding == finding]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _named(some: Sequence[Verdict], shown: int = SHOWN) -> str:
    """The ones that have moved most."""
    ranked = sorted(some, key=lambda one: -math.inf if one.gain is None else -abs(one.gain))
    more = f", and {len(some) - shown} more" if len(some) > shown > 1 else ""
    return ", ".join(f"{one.scored.point.label} {_moved(one)}" for one in ranked[:shown]) + more


def _moved(one: Verdict) -> str:
    if one.gain is None:
        return "failed on one side" if one.finding == "too few seeds to tell" else one.finding
    return f"{'better' if one.gain > 0 else 'worse'} by {score(abs(one.gain))}"
