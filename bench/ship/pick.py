"""Which point somebody takes home: of those that keep the limits, the best on dev; eval decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError, did_you_mean
from bench.plugins.task import Metric
from bench.report.cells import percent, unit
from bench.results.index import comparisons
from bench.results.points import Points, load_points
from bench.results.selection import COST, chosen_points, models_at
from bench.stats.estimates import sign_of

#: columns of ``points.csv`` that can be limited, beside the score
COSTS = (
    *("latency_ms", "latency_p95_ms", "latency_chunk_ms", "latency_utterance_ms", "latency_ratio"),
    *("size_bytes", "memory_bytes", "macs", "macs_ratio", "params", "bops"),
)


@dataclass(frozen=True)
class Limit:
    """What a point must keep: a column of the candidates, and the most (or, of a score, the least) that it may be."""

    column: str
    bound: float
    option: str  # as it was given
    least: bool = False

    def excess(self, value: float) -> float:
        """How far a value lies beyond the bound, as a share of that; 0 if it is kept, infinite if it is not known."""
        beyond = (self.bound - value) if self.least else (value - self.bound)
        return math.inf if math.isnan(value) else max(0.0, beyond / (abs(self.bound) or 1.0))


@dataclass(frozen=True)
class Choice:
    """A model to take home.

    Attributes:
        row: of ``points.csv``.
        point: its row of ``chosen_points``; None for a model that was not chosen by the comparison.
        why: how it came to be this one, in a sentence or two.
    """

    points: Points
    row: dict[str, Any]
    point: dict[str, Any] | None
    why: str

    @property
    def key(self) -> str:
        """Of its trial."""
        return str(self.row["key"])

    @property
    def name(self) -> str:
        """The method, the budget if it has one, and the seed."""
        row = self.row
        budget = f" at ≤ {percent(row['budget'])}" if row["budget"] == row["budget"] and row["budget"] else ""
        return f"{row['method']}{budget}, seed {row['seed']}"


def read_limits(arguments: Sequence[str], metric: Metric) -> list[Limit]:
    """Options ``--max-KEY VALUE`` and, for a metric that is better when high, ``--min-KEY VALUE``.

    Raises:
        BenchError: an argument is no such option, there is no such key, or its value is no number.
    """
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    least = metric.direction == "maximize"
    quality = f"--{'min' if least else 'max'}-{metric.name.replace('_', '-')}"
    known = {quality: "dev", f"{quality}-{metric.unit.replace('_', '-')}": "dev"}
    known |= {f"--max-{cost.replace('_', '-')}": cost for cost in COSTS}
    limits: dict[str, Limit] = {}
    for option, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if option not in known:
            raise BenchError(f"no option {option!r}{did_you_mean(option, known)}; limits are: {', '.join(known)}")
        column = known[option]
        if column in limits:
            raise BenchError(f"{option} {value}: {limits[column].option} limits the same already; leave out one")
        try:
            bound = float(value)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise BenchError(f"{option} {value!r}: expected a number, such as {option} 10")
        limits[column] = Limit(column, bound, f"{option} {value}", least and column == "dev")
    return list(limits.values())


def candidates(points: Points) -> pd.DataFrame:
    """The chosen points that are finished with every seed, with the costs of the model that each would be exported as.

    ``dev`` and ``eval`` stay means over seeds, so that no lucky seed is preferred; the model is that of the seed that
    is best on dev.
    """
    table = chosen_points(points)
    table = table[table["valid"] & table["dev"].notna() & table["model"].notna()]
    own = points.by_key.loc[table["model"]]
    costs = [COST, *(cost for cost in COSTS if cost in own)]
    return table.assign(**{name: own[name].astype(float).to_numpy() for name in costs}).reset_index(drop=True)


def pick(points: Points, limits: Sequence[Limit]) -> Choice:
    """The best candidate that keeps all limits.

    The best is the one with the best mean score on dev, or, where the score alone is limited, the cheapest in what the
    budgets of the comparison are shares of. Of equals the cheaper one, then the better one.

    Raises:
        BenchError: none keeps them; the message names the nearest and what it misses.
    """
    table, sign = candidates(points), sign_of(points.metric)
    if table.empty:
        raise BenchError(f"no finished point in {points.folder}: `bench report` shows what failed")
    excess = pd.DataFrame({limit.option: table[limit.column].map(limit.excess) for limit in limits}, index=table.index)
    worst = excess.max(axis=1) if limits else pd.Series(0.0, index=table.index)
    if not (worst == 0).any():
        raise BenchError(_nearest(points, table.assign(worst=worst, total=excess.sum(axis=1)), limits))
    cheapest = bool(limits) and all(limit.column == "dev" for limit in limits)
    order = [COST, "error"] if cheapest else ["error", COST]
    kept = table[worst == 0].assign(error=lambda rows: sign * rows["dev"]).sort_values(order, kind="stable")
    best = "is the cheapest" if cheapest else f"has the best mean {points.metric.title} on dev"
    keeping = f"{len(kept)} keep {_named(limits)}" if limits else "all may be taken, as no limit was given"
    why = (
        f"Of {len(table)} chosen points {keeping}; this one {best}. Its model is that of the seed that is best on dev."
    )
    return _picked(points, kept.iloc[0], f"{why} Eval is reported and decided nothing.")


def named(points: Points, key: str, why: str = "Named by hand: no limit or score chose it.", **also: str) -> Choice:
    """The model of the trial with this key; ``also``: what else its row holds, where several have the key.

    Raises:
        BenchError: it has none, as it failed or is unfinished.
    """
    table, asked = points.table, {"key": key, **also}
    row = table[(table[list(asked)] == pd.Series(asked)).all(axis=1)].iloc[0]
    if row["status"] not in ("complete", "missed"):
        raise BenchError(f"trial {key} of {row['method']} has no model: it {row['status']} ({row['reason']})")
    own = models_at(chosen_points(points), row["method"], row["trial"])
    return Choice(points, dict(row), dict(own.iloc[0]) if row["chosen"] else None, why)


def find(folder: Path, index: dict[str, Any] | None, limits: Sequence[str], asked: dict[str, Any]) -> Choice:
    """What the options of ``bench pick`` and ``bench export`` name.

    Args:
        folder: of the comparison, ``results/<task>/<preset>``.
        index: of the comparison; None for the one that was run last, or for the last that has the trial.
        limits: arguments ``--max-KEY VALUE``.
        asked: trial (the beginning of a key), method, budget and seed, None where not given.
    """
    if (task := folder.parent.name).startswith("-"):  # an option of the limits, taken for the task
        raise BenchError(f"{task}: name the task first, as in `bench pick antispoof --max-eer 10`")
    given = {name: value for name, value in asked.items() if value is not None}
    if given and limits:
        raise BenchError(f"--{next(iter(given))} names a model, so {limits[0]} has nothing to choose: leave out one")
    if "trial" in given and index is None:
        index = next((each for each in reversed(comparisons(folder)) if any(_keys(each, given["trial"]))), None)
    points = load_points(folder, index)
    if not given:
        return pick(points, read_limits(limits, points.metric))
    return named(points, _asked_for(points, given), **{name: given[name] for name in given if name == "method"})


def _keys(index: dict[str, Any], beginning: str) -> list[str]:
    keys = (trial["key"] for entry in index["methods"].values() for trial in entry["trials"])
    return [key for key in keys if key.startswith(beginning)]


def _asked_for(points: Points, given: dict[str, Any]) -> str:
    """The key of the one trial that fits; of several seeds of a point the best on dev."""
    table, shown = points.table, ", ".join(f"{name} {value}" for name, value in given.items())
    fits = table["key"].str.startswith(given.get("trial", ""))
    for name in ("method", "seed"):
        fits &= (table[name] == given[name]) if name in given else True
    if "budget" in given:
        fits &= (table["budget"].astype(float) - given["budget"]).abs() < 1e-9
    found = table[fits]
    if "trial" not in given:
        found = found[found["chosen"].astype(bool)]
    if found.empty:
        near = did_you_mean(given.get("method", ""), table["method"].unique())
        raise BenchError(f"no trial with {shown} in {points.folder}{near}; points.csv there lists method, budget, seed")
    if len(of := found[["method", "trial"]].drop_duplicates()) > 1 or ("trial" in given and len(found) > 1):
        raise BenchError(f"{len(of)} points have {shown}; say more of --method, --budget, --seed, or name --trial KEY")
    minimize = points.metric.direction == "minimize"
    return str(found.sort_values(points.dev_column, ascending=minimize, kind="stable")["key"].iloc[0])


def _picked(points: Points, candidate: pd.Series[Any], why: str) -> Choice:
    return named(points, candidate["model"], why, method=candidate["method"])


def _named(limits: Sequence[Limit]) -> str:
    return ", ".join(limit.option + (" (on dev)" if limit.column == "dev" else "") for limit in limits)


def _nearest(points: Points, table: pd.DataFrame, limits: Sequence[Limit]) -> str:
    """The point whose largest excess is smallest, and what it misses by how much."""
    row = table.sort_values(["worst", "total"], kind="stable").iloc[0]
    missed = []
    for limit in limits:
        if limit.excess(value := float(row[limit.column])):
            known = "not measured" if math.isnan(value) else f"{value:.4g}"
            score = f"mean {points.metric.title} {unit(points.metric)} on dev"
            name = score if limit.column == "dev" else limit.column
            missed.append(f"{name} is {known} where {limit.option} was asked for")
    choice = _picked(points, row, "")
    return f"no point keeps {_named(limits)}; the nearest is {choice.name} (trial {choice.key}): {'; '.join(missed)}"
