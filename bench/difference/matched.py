"""The chosen points of two result sets, matched by method and budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.difference.origin import same_start
from bench.difference.sides import Side
from bench.report.numbers import known, percent

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A method at a budget, chosen on both sides.

    Attributes:
        method: its name.
        budget: share of the dense compute; None for a method without budgets.
        first: the trained models of A by seed, as rows of the table.
        second: those of B.
        same_start: whether a seed means the same start on both sides.
    """

    method: str
    budget: float | None
    first: Mapping[int, Row]
    second: Mapping[int, Row]
    same_start: bool

    @property
    def shared(self) -> list[int]:
        """The seeds that both have."""
        return sorted(self.first.keys() & self.second.keys())

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return named(self.method, self.budget)

    @property
    def other_settings(self) -> bool:
        """Whether the searches chose different settings, a chance that other seeds know nothing of."""
        settings = [{str(row.get("settings")) for row in side.values()} for side in (self.first, self.second)]
        return settings[0] != settings[1]


@dataclass(frozen=True)
class Matched:
    """The points of two result sets.

    Attributes:
        both: chosen on both sides.
        only_first: method and budget of points that only A has.
        only_second: those that only B has.
        troubles: what failed, missed its budget or was declined on either side, one sentence each.
    """

    both: list[Point]
    only_first: list[str]
    only_second: list[str]
    troubles: list[str]


def named(method: str, budget: float | None) -> str:
    """A method and its budget in words.

    >>> named("feature_noise", 0.25), named("dense", None)
    ('feature_noise at 25 %', 'dense')
    """
    return method if budget is None else f"{method} at {percent(budget)}"


def match_points(first: Side, second: Side) -> Matched:
    """Match the chosen points; where both sides say their budgets, a point stands for the one it was chosen for."""
    edges = _edges(first, second)
    one, other = _chosen(first, edges), _chosen(second, edges)
    both = []
    for method, budget in sorted((name for name in one if name in other), key=_order):
        runs, others = one[method, budget], other[method, budget]
        stage = str(next(iter(runs.values())).get("stage"))
        same = same_start(first, second, stage, runs.keys() & others.keys())
        both.append(Point(method, budget, runs, others, same))
    only = [[named(*name) for name in sorted(a, key=_order) if name not in b] for a, b in ((one, other), (other, one))]
    troubles = [*_troubles("A", first, edges), *_troubles("B", second, edges)]
    return Matched(both, only[0], only[1], troubles)


def _order(name: tuple[str, float | None]) -> tuple[str, float]:
    return name[0], -(name[1] or math.inf)


def _edges(first: Side, second: Side) -> list[float]:
    if first.index is None or second.index is None:
        return []
    return sorted({1.0, *first.index["budgets"], *second.index["budgets"]})


def _budget_of(row: Row, edges: list[float]) -> float | None:
    """The budget that a row was chosen for: the next above what it asked for, as in the choice itself."""
    if not known(row["budget"]):
        return None
    asked = float(row["budget"])
    return next((edge for edge in edges if asked <= edge * (1 + 1e-9)), asked)


def _chosen(side: Side, edges: list[float]) -> dict[tuple[str, float | None], dict[int, Row]]:
    found: dict[tuple[str, float | None], dict[int, Row]] = {}
    for row in side.rows:
        if row["chosen"] and row["status"] != "declined":
            found.setdefault((str(row["method"]), _budget_of(row, edges)), {})[row["seed"]] = row
    return found


def _troubles(label: str, side: Side, edges: list[float]) -> list[str]:
    """Chosen points that are not complete, the seeds of a point in one sentence; who declined is said once."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for row in side.rows:
        if row["chosen"] and row["status"] != "complete":
            budget = None if row["status"] == "declined" else _budget_of(row, edges)
            seeds.setdefault((str(row["status"]), named(str(row["method"]), budget)), []).append(row["seed"])
    return [
        f"{label} {status}: {name}"
        + ("" if status == "declined" else f", seed{'s' * (len(own) > 1)} {', '.join(map(str, sorted(own)))}")
        for (status, name), own in seeds.items()
    ]
