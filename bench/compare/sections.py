"""What is said of two result sets, from how they were made to the closing sentence."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.compare.sides import Side, origins_differing
from bench.compare.verdicts import (
    USUAL_SPREAD,
    Matched,
    changed_costs,
    match_points,
    repeated_models,
    seed_difference,
    verdicts,
)
from bench.export.runtimes import TIMED_IN
from bench.report.cells import Field, metric_name, percent, records, score, signed, table_of, tenths, written
from bench.report.document import Piece, Section, Text
from bench.stats.significance import LEVEL, TOO_FEW, seeds_needed

#: where these differ, numbers need not agree
DECISIVE = ("preset", "budgets", "trials", "data", "plan", "fields", "width_multiple", "width_groups", *TIMED_IN)
SMALL = 0.005  # below this two decimals would hide a gain
SHOWN = 3  # points named in a sentence
#: of what does not differ
WORDS = {"within noise": "within noise", "same score": "with the same score", "failed in both": "failed in both"}
STYLES = {"better": "good", "worse": "bad", "same score": "soft"}
ORIGINS: list[Field] = [("", 0, None), ("A", 1, None), ("B", 2, None)]
POINT: list[Field] = [("method", "method", None), ("budget", "budget", None)]
SIDES: list[Field] = [("A", "first", str), ("B", "second", str)]
SCORES = [*POINT, ("seeds", "seeds", str), *SIDES]
SCORES += [("gain", "gain", str), ("± s.e.", "error", written(".2g")), ("verdict", "verdict", None)]
COSTS = [*POINT, ("cost", "cost", None), *SIDES, ("change", "change", str), ("noise", "noise", str)]


def comparison_sections(first: Side, second: Side) -> list[Section]:
    """Everything there is to say, in the order in which it is read."""
    matched, repeated = match_points(first, second), repeated_models(first, second)
    found, costs = verdicts(matched.both, first.metric), changed_costs(matched.both)
    scores = f"Scores ({metric_name(first.metric)}; a gain above 0 means that B is better)"
    alone, failed = len(matched.only_first) + len(matched.only_second), int(repeated["differing"].astype(bool).sum())
    closing = closing_sentence(found, len(costs), failed, alone)
    return [
        Section(f"{first.name} against {second.name}", [Text(f"A: {first.path}"), Text(f"B: {second.path}")]),
        Section("How they were made", _origin(first, second)),
        Section("Models with the same key", _repeated(repeated)),
        Section(scores, [*_scores(found), *_left_out(matched, found)]),
        Section("Costs", _costs(costs, len(matched.both))),
        Section("Does anything differ beyond noise?", [Text(closing, "strong")]),
    ]


def _origin(first: Side, second: Side) -> list[Piece]:
    said: list[Piece] = [
        Text(f"{label} is a points.csv, which does not say how it was made.", "warning")
        for label, side in (("A", first), ("B", second))
        if not side.index
    ]
    one, other = first.setting.get("data"), second.setting.get("data")
    if one and other and one != other:
        digests = f"digest A {one}, digest B {other}"
        said.append(Text(f"The two were trained on different data ({digests}): scores do not compare.", "warning"))
    differing = origins_differing(first, second)
    if names := [name for name, _, _ in differing if name.removeprefix("setting: ").split(": ")[0] in DECISIVE]:
        said.append(Text(f"Numbers need not agree, because these differ: {', '.join(names)}.", "warning"))
    if differing:
        said.append(table_of([dict(enumerate(row)) for row in differing], ORIGINS))
    return said or [Text("Both were made in the same way.")]


def _repeated(repeated: pd.DataFrame) -> list[Piece]:
    failed = repeated["differing"].astype(bool)
    both, said = int((repeated["side"] == "both").sum()), list[Piece]()
    if failed.any():
        head = f"{failed.sum()} of {_count(both, 'model')} with the same key differ."
        why = "A key names everything that should decide a result, so these could not be reproduced."
        said.append(Text(f"{head} {why}", "bad"))
    for method, own in repeated[failed].groupby("method", sort=False):  # one line each, with one of its models
        columns = ", ".join(dict.fromkeys(name for differing in own["differing"] for name in differing))
        name, (one, other) = next(iter(own["differing"].iloc[0].items()))
        such_as = f"{own['key'].iloc[0]}, seed {own['seed'].iloc[0]}: {name} {one} in A, {other} in B"
        said.append(Text(f"{method}: {len(own)}, in {columns}; such as {such_as}", "bad"))
    if agreeing := both - int(failed.sum()):
        whose = f"{_count(agreeing, 'model')} with the same key"
        said.append(Text(f"{whose} {'agrees' if agreeing == 1 else 'agree'} to the bit in all but times and memory."))
    for label in ("A", "B"):
        if len(only := repeated.loc[repeated["side"] == label, "method"]):
            each = ", ".join(f"{method} {count}" for method, count in only.value_counts().sort_index().items())
            said.append(Text(f"Keys only in {label}: {len(only)} ({each})."))
    return said or [Text("The keys of the models are not known on both sides.")]


def _scores(found: pd.DataFrame) -> list[Piece]:
    """The table, and below it what its columns mean."""
    if found.empty:
        return [Text("No point was chosen and scored on both sides.", "warning")]
    rows = records(found)
    for row, before in zip(rows, found["method"].shift(), strict=True):
        point = row["point"]
        row |= {"method": "" if point.method == before else point.method, "budget": _budget(point.budget)}
        for side in ("first", "second"):  # the mean, and of how many seeds if some failed
            trials, finished = row[f"scores_{side}"], int(row[f"scores_{side}"].map(math.isfinite).sum())
            of = f" ({finished} of {len(trials)})" if finished < len(trials) else ""
            row[side] = score(row[side]) + of if finished else "failed"
        paired = f"{len(point.shared)} {'equal' if row['identical'] else 'paired'}"
        row["seeds"] = paired if row["paired"] else f"{len(point.first)} + {len(point.second)}"
        row["verdict"], row["style"] = _verdict(row), "warning" if row["large"] else STYLES.get(row["finding"], "")
        row["gain"] = _gain(row["gain"])
    return [table_of(rows, SCORES), *(Text(text, "soft") for text in _legend(found))]


def _budget(share: float) -> str:
    return percent(share) if math.isfinite(share) else ""


def _gain(gain: float | None) -> str:
    if not gain:
        return "" if gain is None else "0"
    return signed(gain) if abs(gain) >= SMALL else f"{gain:+.1g}"


def _verdict(row: Mapping[str, Any]) -> str:
    words = f"{row['finding']}, but large" if row["large"] else row["finding"]
    words += "" if row["p"] is None else f", p = {row['p']:.2g}"
    words = f"on dev: {words}" if row["split"] == "dev" else words
    return f"{words} *" if row["point"].other_settings else words


def _legend(found: pd.DataFrame) -> list[str]:
    said, tested = [], int(found["p"].notna().sum())
    if tested:
        said.append(
            f"Better and worse: a permutation test over seeds, p < {LEVEL:g} after Holm's correction over "
            f"{_count(tested, 'tested point')}. Within noise does not prove that nothing has changed."
        )
    if few := int((found["finding"] == TOO_FEW).sum()):
        pairs, each = (seeds_needed(paired=which, family=few + tested) for which in (True, False))
        said.append(
            f"Too few seeds: no outcome could be significant. To tell all {few + tested} points that are not the same "
            f"needs {pairs} paired seeds, or {each} + {each}."
        )
        said.append(
            "No point has two seeds on one side, so it is not known how much seeds differ."
            if math.isnan(apart := seed_difference(found))
            else f"Two seeds of one point on one side differ by up to {score(apart)}; more than that is large."
        )
    if found["error"].notna().any():
        said.append("± s.e.: the standard error of the difference, from the spread of its seeds.")
    if any(point.other_settings for point in found["point"]):
        said.append("* the searches chose other settings, which is a source of chance that the seeds do not show.")
    return said


def _left_out(matched: Matched, found: pd.DataFrame) -> list[Piece]:
    """Points that could not be compared, and what failed."""
    told = {point.label for point in found["point"]}
    lists = {
        "Only in A": matched.only_first,
        "Only in B": matched.only_second,
        "Without a score for every finished model": [p.label for p in matched.both if p.label not in told],
    }
    said = [f"{name}: {', '.join(points)}." for name, points in lists.items() if points]
    return [Text(text, "warning") for text in (*said, *matched.troubles)]


def _costs(costs: pd.DataFrame, points: int) -> list[Piece]:
    if costs.empty:
        return [Text(f"No cost differs at {_count(points, 'point')}.")]
    rows = records(costs)
    again = costs.duplicated(["method", "budget"])  # said once
    for row, repeated in zip(rows, again, strict=True):
        row |= {"method": "" if repeated else row["method"], "budget": "" if repeated else _budget(row["budget"])}
        row |= {"change": f"{100 * row['share']:+.1f} %", "noise": tenths(row["noise"]) if row["noise"] else "counted"}
    rule = (
        "Means over the seeds that both have. What is counted has changed if it differs at all, and widths that are "
        "learned differ whenever training does. Latency has changed if it differs by more than both measured "
        f"spreads together, or {100 * USUAL_SPREAD:g} % where no spread was recorded."
    )
    return [table_of(rows, COSTS), Text(rule, "soft")]


def closing_sentence(found: pd.DataFrame, costs: int, failed: int, alone: int) -> str:
    """One sentence that says whether anything differs beyond noise, and what could not be answered.

    ``costs`` have changed, ``failed`` models with the same key differ, and ``alone`` points stand only on one side.
    """
    points, counts = _count(len(found), "point"), found["finding"].value_counts()
    beyond, unsure = found[found["finding"].isin(["better", "worse"])], found[found["finding"] == TOO_FEW]
    scores = "scores" if len(beyond) == 1 else "score"
    differing = [f"{len(beyond)} of {points} {scores} differently beyond noise ({_named(beyond)})"] * (len(beyond) > 0)
    differing += [f"{_count(costs, 'cost')} changed"] * (costs > 0)
    differing += [f"{_count(failed, 'model')} could not be reproduced"] * (failed > 0)
    rest = [f"{len(unsure)} of {points} with too few seeds to tell{_largest(unsure)}"] if len(unsure) else []
    rest += [f"{counts[finding]} {words}" for finding, words in WORDS.items() if finding in counts]
    rest += [f"{_count(alone, 'point')} only on one side"] * (alone > 0)
    if differing:
        return f"Yes: {'; '.join([*differing, *rest])}."
    if found.empty:
        return "Nothing can be said: no point was chosen and scored on both sides."
    if counts.get("same score") == len(found) and not alone:
        return f"No: {'all ' if len(found) > 1 else ''}{points} with the same scores and costs."
    if len(unsure):
        head = "The seeds cannot tell" if len(unsure) == len(found) else "Not as far as the seeds can tell"
        return f"{head}: {'; '.join(rest)}."
    return f"No difference beyond noise was found: {'; '.join(rest)}."


def _largest(unsure: pd.DataFrame) -> str:
    """What a reader should look at, although the seeds cannot tell."""
    if len(large := unsure[unsure["large"]]):
        return f", but {len(large)} differing by more than any two seeds seen here ({_named(large)})"
    return f", the largest difference: {_named(unsure, 1)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _named(some: pd.DataFrame, shown: int = SHOWN) -> str:
    """The ones that have moved most."""
    ranked = some.sort_values("gain", key=lambda gain: -gain.abs(), kind="stable", na_position="last")
    rows = zip(ranked["point"], ranked["gain"], ranked["finding"], strict=True)
    named = [f"{point.label} {_moved(gain, finding)}" for point, gain, finding in rows][:shown]
    return ", ".join(named) + (f", and {len(some) - shown} more" if len(some) > shown > 1 else "")


def _moved(gain: float, finding: str) -> str:
    if math.isnan(gain):
        return "failed on one side" if finding == TOO_FEW else finding
    return f"{'better' if gain > 0 else 'worse'} by {score(abs(gain))}"
