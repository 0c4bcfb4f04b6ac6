"""How good the chosen models are: duels, best scores, fronts, hypervolumes, and what of it is more than chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.plugins.task import ItemScores
from bench.results.selection import COST, ROUNDING, SPARED
from bench.stats import fronts
from bench.stats.estimates import LARGE_IS_GOOD, Array, Sign, best_within, least_cost_no_worse
from bench.stats.items import RedrawnScores, redraw_scores, same_items
from bench.stats.significance import TOO_FEW, holm, permutation_test, probability_better, seeds_needed

RESAMPLES = 1000
CONTROL = "uniform_width"
CAMPS = {"in-training": "all in-training methods together", "post-hoc": "all post-hoc methods together"}
#: costs that are shares of the dense model, with what their column is called where budgets are in MACs
COSTS = {COST: "MACs executed", SPARED: "non-zero MACs (theoretical)", "latency_ratio": "latency (real)"}


@dataclass(frozen=True)
class ItemDraws:
    """What chosen models score on eval when its items are drawn again.

    Attributes:
        scores: by key of the trial, each of shape (resamples,), in the unit of the metric; the draws are shared.
        units: how many were drawn from.
    """

    scores: dict[str, Array] = field(default_factory=dict)
    units: int = 0


def draw_items(read: Mapping[str, ItemScores | None], scores: Mapping[str, float]) -> ItemDraws:
    """Draw the items of all models again, with the same draws for all.

    Args:
        read: item scores by key of the trial, None where there are none undamaged.
        scores: eval scores by key. A model whose items do not give its score, or are other items than those of the
            first model, has no draws.
    """
    found: dict[str, ItemScores] = {}
    for key, items in read.items():
        if items is None or not np.isclose(items.headline, scores[key], rtol=1e-6, atol=1e-9):
            continue
        if not found or same_items(next(iter(found.values())), items):
            found[key] = items
    count = len(np.unique(next(iter(found.values())).units)) if found else 0
    if count < 2:
        return ItemDraws()
    return ItemDraws(dict(zip(found, redraw_scores(list(found.values()), RESAMPLES).T, strict=True)), count)


@dataclass(frozen=True)
class Grid:
    """The models of some points as statistics take them; one that failed or missed its budget has the worst scores.

    Attributes:
        methods: the method of each point, shape (points,).
        cost: shares of the dense model's cost, shape (seeds, points); NaN where a trial failed.
        spared: likewise, if zeros were free.
        dev: scores on dev, in the unit of the metric, shape (seeds, points).
        evals: scores on eval, likewise.
        redrawn: ``evals`` on other draws of the items; None unless all finished models have them.
    """

    methods: NDArray[np.str_]
    cost: Array
    spared: Array
    dev: Array
    evals: Array
    redrawn: RedrawnScores | None

    def of(self, *methods: str) -> Grid:
        """The points of these methods."""
        at = np.isin(self.methods, methods)
        redrawn = None if self.redrawn is None else RedrawnScores(self.redrawn.scores[:, :, at], self.redrawn.units)
        costs = self.cost[:, at], self.spared[:, at]
        return Grid(self.methods[at], *costs, self.dev[:, at], self.evals[:, at], redrawn)


@dataclass(frozen=True)
class Contender:
    """What takes part in a comparison of scores: a method, or all methods of a camp together.

    Attributes:
        name: of the method, or what the camp is called.
        grid: of the points of its methods, with the seeds that all of them have; None if there is no such seed.
    """

    name: str
    kind: str
    methods: Sequence[str]
    grid: Grid | None

    @property
    def row(self) -> dict[str, Any]:
        """What a table says of it first."""
        return {"method": self.name, "kind": self.kind, "camp": self.name in CAMPS.values()}


def contenders(counted: pd.DataFrame, kinds: Mapping[str, str], draws: ItemDraws) -> list[Contender]:
    """Camps first, then methods in the order of ``kinds`` (in-training, post-hoc or control, by name of the method).

    ``counted``: the trials that count: method, trial, seed, key, cost_ratio, spared_ratio, dev, eval.
    """
    camps = [(name, kind, [m for m, own in kinds.items() if own == kind]) for kind, name in CAMPS.items()]
    groups = [*(camp for camp in camps if camp[2]), *((method, kind, [method]) for method, kind in kinds.items())]
    return [Contender(name, kind, methods, grid_of(counted, methods, draws)) for name, kind, methods in groups]


def grid_of(counted: pd.DataFrame, methods: Collection[str], draws: ItemDraws) -> Grid | None:
    """The points of these methods with the seeds that all points have; None if there is no such seed."""
    table = counted[counted["method"].isin(list(methods))]
    table = table.assign(point=table.groupby(["method", "trial"], sort=False).ngroup())
    points = table["point"].nunique()
    shared = [seed for seed, own in table.groupby("seed") if len(own) == points]
    table = table[table["seed"].isin(shared)].sort_values(["point", "seed"])
    if table.empty:
        return None

    def matrix(column: str, kind: type = np.float64) -> NDArray[Any]:
        return np.ascontiguousarray(table[column].to_numpy(dtype=kind).reshape(points, -1).T)

    names, evals = matrix("method", str)[0], matrix("eval")
    redrawn = _redrawn(matrix("key", object), evals, draws)
    return Grid(names, matrix(COST), matrix(SPARED), matrix("dev"), evals, redrawn)


def _redrawn(keys: NDArray[Any], evals: Array, draws: ItemDraws) -> RedrawnScores | None:
    finished = np.isfinite(evals)
    if not finished.any() or any(key not in draws.scores for key in keys[finished]):
        return None
    nothing = np.full(len(next(iter(draws.scores.values()))), np.nan)
    each = [[draws.scores.get(key, nothing) for key in row] for row in keys]
    return RedrawnScores(np.moveaxis(np.array(each), -1, 0), draws.units)


def best_first(chosen: pd.DataFrame, sign: Sign) -> pd.DataFrame:
    """The chosen points that may represent their method: finished with every seed and scored, the best on dev first."""
    usable = chosen[chosen["valid"] & chosen["eval"].notna()]
    return usable.sort_values("dev", ascending=sign == 1, kind="stable")


def duel_table(chosen: pd.DataFrame, budgets: Sequence[float], sign: Sign, cost: str) -> pd.DataFrame:
    """For every budget the best method of each camp: chosen on dev, read on eval.

    The column ``cost`` must be within the budget; ``spared_ratio`` counts zeros as free. Points of which a seed
    failed or missed its budget take no part.

    Columns: budget; for in_training, post_hoc and uniform (the control) the method, its ``_score``, its ``_std`` and
    its ``_seeds``; gap (by how much in-training is better, in the unit of the metric).
    """
    usable = best_first(chosen, sign)
    sides = {kind.replace("-", "_"): usable["kind"] == kind for kind in CAMPS}
    rows = []
    for budget in budgets:
        row: dict[str, Any] = {"budget": budget}
        for side, members in {**sides, "uniform": usable["method"] == CONTROL}.items():
            within = usable[members & (usable[cost] <= budget * (1 + ROUNDING))]
            best = within.iloc[0] if len(within) else dict.fromkeys(("method", "eval", "eval_std", "scored"))
            row |= {side: best["method"], f"{side}_score": best["eval"], f"{side}_std": best["eval_std"]}
            row[f"{side}_seeds"] = best["scored"]
        rows.append(row)
    table = pd.DataFrame(rows)
    scores = (table[f"{side}_score"].astype(float) for side in ("post_hoc", "in_training"))
    return table.assign(gap=sign * (next(scores) - next(scores)))


def best_table(entries: Sequence[Contender], budgets: Sequence[float], sign: Sign) -> pd.DataFrame:
    """The best mean eval score of each contender within each budget, chosen on dev.

    What has no finished model is left out, and so is the dense model, which no budget below 1 admits.

    Columns: method (or what the camp is called), kind, camp, and for each budget an ``Estimate``.
    """
    rows: list[dict[Any, Any]] = []
    for entry in entries:
        if (grid := entry.grid) is not None and entry.name != "dense":
            known: dict[str, Any] = {"sign": sign, "dev": grid.dev, "redrawn": grid.redrawn}
            best = {budget: best_within(grid.cost, grid.evals, budget, **known) for budget in budgets}
            rows.append(entry.row | best)
    return pd.DataFrame(rows, columns=["method", "kind", "camp", *budgets])


def undiminished_table(counted: pd.DataFrame, kinds: Mapping[str, str], draws: ItemDraws, sign: Sign) -> pd.DataFrame:
    """How small each method gets without loss: the least share of the dense MACs at which its mean score is no worse.

    Means over the seeds of a point are compared with the mean of the dense model, with the same seeds. Left out:
    methods without a finished model that shares a seed with the dense model.

    Columns: method, kind, seeds; dev (a share; infinite where no point is as good); evals and theoretical (where eval
    decides, and the same if zeros cost nothing; each an ``Estimate``).
    """
    rows = []
    for method, kind in kinds.items():
        grid = grid_of(counted, [method, "dense"], draws) if method != "dense" else None
        if grid is None or set(grid.methods) != {method, "dense"}:
            continue
        own, dense = grid.of(method), grid.of("dense")
        if np.isfinite(dense.evals).all():
            row: dict[str, Any] = {"method": method, "kind": kind, "seeds": len(own.evals)}
            row["dev"] = least_cost_no_worse(own.cost, own.dev, dense.dev[:, 0], sign=sign).value
            for name, costs in (("evals", own.cost), ("theoretical", own.spared)):
                level = dense.evals[:, 0]
                row[name] = least_cost_no_worse(
                    costs, own.evals, level, sign=sign, redrawn=own.redrawn, level_redrawn=dense.redrawn
                )
            rows.append(row)
    return pd.DataFrame(rows, columns=["method", "kind", "seeds", "dev", "evals", "theoretical"])


def hypervolume_table(
    entries: Sequence[Contender], chosen: pd.DataFrame, reference: fronts.Reference, theory: pd.DataFrame
) -> pd.DataFrame:
    """How much of the frozen box the points of each contender cover, by each of ``COSTS``.

    Points one of whose seeds failed or missed its budget cover nothing; NaN where a cost was never measured.

    Columns: method (or what the camp is called), kind, camp, one for each of ``COSTS``, and interval (an ``Estimate``
    for the executed MACs, or None). The best possible front comes last.
    """
    rows = []
    for entry in entries:
        own = chosen[chosen["method"].isin(entry.methods)]
        row = entry.row | {"interval": None} | {cost: _covered(own, cost, reference) for cost in COSTS}
        if (grid := entry.grid) is not None:
            interval = fronts.hypervolume_of_means(grid.cost, grid.evals, reference, redrawn=grid.redrawn)
            row |= {COST: interval.value, "interval": interval}
        rows.append(row)
    if rows and len(theory):
        covered = fronts.hypervolume(theory["share"], theory["score"], reference)
        rows.append({"method": "best possible", "kind": "theory", "camp": False, "interval": None, COST: covered})
    return pd.DataFrame(rows, columns=["method", "kind", "camp", *COSTS, "interval"])


def _covered(members: pd.DataFrame, cost: str, reference: fronts.Reference) -> float:
    """What means over seeds cover; NaN if the cost was never measured, which is something else than nothing covered."""
    if members[cost].isna().all():
        return float("nan")
    usable = members[members["valid"] & members["eval"].notna() & (members[cost] > 0)]
    return fronts.hypervolume(usable[cost], usable["eval"], reference) if len(usable) else 0.0


def on_front(chosen: pd.DataFrame, sign: Sign) -> pd.Series[bool]:
    """Which chosen points no other one beats on eval at the MACs that are executed."""
    usable = chosen["valid"] & chosen["eval"].notna() & chosen[COST].notna()
    front = pd.Series(data=False, index=chosen.index)
    front[usable] = fronts.nondominated(chosen.loc[usable, COST], sign * chosen.loc[usable, "eval"])
    return front


def seed_points(counted: pd.DataFrame) -> dict[str, dict[int, fronts.SeedPoints]]:
    """For each method the costs and scores of each seed; what failed or missed its budget covers nothing."""
    found: dict[str, dict[int, fronts.SeedPoints]] = {}
    for method, of_method in counted.groupby("method", sort=False):
        for seed, own in of_method.groupby("seed"):
            inside = own[np.isfinite(own["eval"]) & own[COST].notna()]
            found.setdefault(str(method), {})[int(str(seed))] = (inside[COST], inside["eval"])
    return found


def camp_points(
    by_seed: Mapping[str, Mapping[int, fronts.SeedPoints]], kinds: Mapping[str, str]
) -> dict[str, dict[int, fronts.SeedPoints]]:
    """For each camp the costs and scores of each seed that all of its methods have."""
    return {kind: fronts.camp_by_seed([own for m, own in by_seed.items() if kinds[m] == kind]) for kind in CAMPS}


def attainment_bands(
    by_seed: Mapping[str, Mapping[int, fronts.SeedPoints]], reference: fronts.Reference
) -> dict[str, fronts.AttainmentBand]:
    """The attainment band of every method with two seeds or more that attains anything."""
    several = {method: list(own.values()) for method, own in by_seed.items() if len(own) > 1}
    bands = {method: fronts.attainment_band(own, reference) for method, own in several.items()}
    return {method: band for method, band in bands.items() if band.best.costs}


def chance_table(
    by_seed: Mapping[str, Mapping[int, fronts.SeedPoints]], kinds: Mapping[str, str], reference: fronts.Reference
) -> pd.DataFrame:
    """The camps against each other, then every method against the control, by the hypervolume of each seed.

    Columns: first, second; advantage (mean hypervolume of the first less that of the second, 0 to 1); probability
    that a seed of the first is better, with its interval low to high; sentence (the p-value of a permutation test,
    Holm-corrected over the methods, or why there can be none).
    """
    methods = [method for method in by_seed if kinds[method] != "control"]
    camps = [fronts.hypervolume_by_seed(own, reference) for own in camp_points(by_seed, kinds).values()]
    rows = [_against(CAMPS["in-training"], CAMPS["post-hoc"], camps[0], camps[1], 1)] if all(camps) else []
    if CONTROL in by_seed:
        control = fronts.hypervolume_by_seed(by_seed[CONTROL], reference)
        own = {method: fronts.hypervolume_by_seed(by_seed[method], reference) for method in methods}
        family = [_against(method, CONTROL, own[method], control, len(methods)) for method in methods]
        needed = seeds_needed(paired=True, family=max(1, len(family)))
        for row, corrected in zip(family, holm([row["p"] for row in family]), strict=True):
            if corrected is None:
                row["sentence"] = f"{TOO_FEW}: as one of {len(family)} tests it needs {needed} seeds"
            else:
                row["sentence"] += f"; {corrected:.2g} after Holm's correction"
        rows += family
    return pd.DataFrame(rows, columns=["first", "second", "advantage", "probability", "low", "high", "sentence"])


def _against(
    first: str, second: str, one: Mapping[int, float], other: Mapping[int, float], family: int
) -> dict[str, Any]:
    test = permutation_test(one, other, sign=LARGE_IS_GOOD, family=family)
    chance = probability_better(one, other, sign=LARGE_IS_GOOD)
    return {
        **{"first": first, "second": second, "probability": chance.value, "low": chance.low, "high": chance.high},
        **{"advantage": test.advantage, "p": test.p, "sentence": test.sentence},
    }
