"""The closing sentence: does anything differ beyond noise?"""

import math
from collections.abc import Sequence

from bench.difference.costs import Change
from bench.difference.repeated import Repeated
from bench.difference.scores import Finding, Verdict
from bench.report.numbers import score

SHOWN = 3  # points named in a sentence
WORDS: dict[Finding, str] = {
    "within noise": "within noise",
    "same score": "the same",
    "failed in both": "failed in both",
}


def closing_sentence(found: Sequence[Verdict], costs: Sequence[Change], repeated: Repeated, alone: int) -> str:
    """One sentence that answers the question and says what could not be answered.

    Args:
        found: what the seeds say of every point.
        costs: the costs that have changed.
        repeated: what the keys tell.
        alone: how many points only one side has.
    """
    beyond = [one for one in found if one.finding in ("better", "worse")]
    differing = [
        *([f"{_of(beyond, found)} differently beyond noise ({_named(beyond)})"] if beyond else []),
        *([f"{_count(costs, 'cost')} changed"] if costs else []),
        *([f"{_count(repeated.disagreeing, 'model')} could not be reproduced"] if repeated.disagreeing else []),
    ]
    rest = _rest(found, alone)
    open_, same = (_with(found, finding) for finding in ("too few seeds to tell", "same score"))
    if differing:
        return f"Yes: {'; '.join([*differing, *rest])}."
    if not found:
        return "Nothing can be said: no point was chosen and scored on both sides."
    if len(same) == len(found) and not alone:
        return f"No: {'all ' if len(found) > 1 else ''}{_count(found, 'point')} with the same scores and costs."
    if open_:
        head = "The seeds cannot tell" if len(open_) == len(found) else "Not as far as the seeds can tell"
        return f"{head}: {'; '.join(rest)}."
    return f"No difference beyond noise was found: {'; '.join(rest)}."


def _rest(found: Sequence[Verdict], alone: int) -> list[str]:
    """What is not beyond noise, or not known to be."""
    open_ = _with(found, "too few seeds to tell")
    said = [f"{len(open_)} of {_count(found, 'point')} with too few seeds to tell{_largest(open_)}"] if open_ else []
    said += [f"{len(own)} {words}" for finding, words in WORDS.items() if (own := _with(found, finding))]
    return [*said, f"{_count(range(alone), 'point')} only on one side"] if alone else said


def _largest(open_: Sequence[Verdict]) -> str:
    """What a reader should look at, although the seeds cannot tell."""
    if large := [one for one in open_ if one.large]:
        return f", but {len(large)} differing by more than any two seeds seen here ({_named(large)})"
    return f", the largest difference: {_named(open_, 1)}"


def _with(found: Sequence[Verdict], finding: Finding) -> list[Verdict]:
    return [one for one in found if one.finding == finding]


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _of(some: Sequence[Verdict], found: Sequence[Verdict]) -> str:
    return f"{len(some)} of {_count(found, 'point')} {'scores' if len(some) == 1 else 'score'}"


def _named(some: Sequence[Verdict], shown: int = SHOWN) -> str:
    """The ones that have moved most."""
    ranked = sorted(some, key=lambda one: -math.inf if one.gain is None else -abs(one.gain))
    return ", ".join(f"{one.scored.point.label} {_moved(one)}" for one in ranked[:shown]) + (
        f", and {len(some) - shown} more" if len(some) > shown > 1 else ""
    )


def _moved(one: Verdict) -> str:
    if one.gain is None:
        return "failed on one side" if one.finding == "too few seeds to tell" else one.finding
    return f"{'better' if one.gain > 0 else 'worse'} by {score(abs(one.gain))}"
