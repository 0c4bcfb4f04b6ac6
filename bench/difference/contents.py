"""What is said of two result sets, from how they were made to the closing sentence."""

from collections import Counter
from collections.abc import Sequence

from bench.difference.closing import closing_sentence
from bench.difference.costs import USUAL_SPREAD, Change, changed_costs
from bench.difference.matched import match_points
from bench.difference.origin import decisive, origins_differing
from bench.difference.repeated import Disagreement, Repeated, repeated_models
from bench.difference.score_sheet import left_out, score_sheet
from bench.difference.scores import scored_points, seed_difference, verdicts
from bench.difference.shown import Line, Part, Sheet
from bench.difference.sides import Side
from bench.report.numbers import percent, title, unit


def contents(first: Side, second: Side) -> list[Part]:
    """Everything there is to say, in the order in which it is read."""
    matched, repeated = match_points(first, second), repeated_models(first, second)
    scored = scored_points(matched.both, first.metric)
    found, costs = verdicts(scored, first.metric), changed_costs(matched.both)
    apart, alone = seed_difference(scored), len(matched.only_first) + len(matched.only_second)
    name = f"{title(first.metric)} {unit(first.metric)}"
    return [
        Part(f"{first.name} against {second.name}", [Line(f"A: {first.path}"), Line(f"B: {second.path}")]),
        Part("How they were made", _origin(first, second)),
        Part("Models with the same key", _repeated(repeated)),
        Part(
            f"Scores ({name}; a gain above 0 means that B is better)",
            [*score_sheet(found, apart), *left_out(matched, scored)],
        ),
        Part("Costs", _costs(costs, len(matched.both))),
        Part("Does anything differ beyond noise?", [Line(closing_sentence(found, costs, repeated, alone), "bold")]),
    ]


def _origin(first: Side, second: Side) -> list[Line | Sheet]:
    said: list[Line | Sheet] = [
        Line(f"{label} is a points.csv, which does not say how it was made.", "yellow")
        for label, side in (("A", first), ("B", second))
        if side.index is None
    ]
    differing = origins_differing(first, second)
    if names := decisive(differing):
        said.append(Line(f"Numbers need not agree, because these differ: {', '.join(names)}.", "yellow"))
    if differing:
        return [*said, Sheet(["", "A", "B"], "lll", differing)]
    return said or [Line("Made alike.")]


def _repeated(repeated: Repeated) -> list[Line | Sheet]:
    agreeing, failed = repeated.agreeing.total(), repeated.disagreeing
    said: list[Line | Sheet] = []
    if failed:
        of = agreeing + len(failed)
        sentence = "A key names all that should decide a result, so these could not be reproduced."
        said += [Line(f"{len(failed)} of {of} models with the same key differ. {sentence}", "red"), *_failures(failed)]
    if agreeing:
        said.append(Line(f"{agreeing} with the same key agree to the bit in all but times and memory."))
    for label, only in (("A", repeated.only_first), ("B", repeated.only_second)):
        if only:
            said.append(Line(f"Keys only in {label}: {only.total()} ({_counted(only)})."))
    return said or [Line("Keys are not known on both sides.")]


def _failures(failed: Sequence[Disagreement]) -> list[Line]:
    """One line a method, with one of its models."""
    lines = []
    for method in dict.fromkeys(one.method for one in failed):
        own = [one for one in failed if one.method == method]
        name, (one, other) = next(iter(own[0].columns.items()))
        columns = ", ".join(dict.fromkeys(name for one in own for name in one.columns))
        such_as = f"{own[0].key}, seed {own[0].seed}: {name} {one} in A, {other} in B"
        lines.append(Line(f"{method}: {len(own)}, in {columns}; such as {such_as}", "red"))
    return lines


def _counted(only: Counter[str]) -> str:
    return ", ".join(f"{method} {count}" for method, count in sorted(only.items()))


def _costs(changes: Sequence[Change], points: int) -> list[Line | Sheet]:
    if not changes:
        return [Line(f"No cost differs at {points} points.")]
    rows, previous = [], None
    for one in changes:
        point, label = one.point, one.point.label
        noise = f"{100 * one.noise:.1f} %" if one.noise else "counted"
        rows.append([
            *((point.method, percent(point.budget or float("nan"))) if label != previous else ("", "")),
            *(one.cost, one.first, one.second, f"{100 * one.share:+.1f} %", noise),
        ])  # fmt: skip
        previous = label
    rule = (
        "Means over the seeds that both have. What is counted has changed if it differs at all, and widths that are "
        "learned differ whenever training does. Latency has changed if it differs by more than both measured "
        f"spreads together, or {100 * USUAL_SPREAD:g} % where no spread was recorded."
    )
    return [Sheet(["method", "budget", "cost", "A", "B", "change", "noise"], "lllrrrr", rows), Line(rule, "dim")]
