"""Every number and table of a report, computed once; all that is said and drawn is read from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from urllib.parse import quote

import pandas as pd

from bench.plugins.task import Metric
from bench.report import costs, quality
from bench.report.attribution import attribution_table
from bench.report.verdict import Verdicts, verdicts
from bench.results.points import Points
from bench.results.selection import COST, SPARED, chosen_models, chosen_points, tuning_gains
from bench.stats.estimates import Sign, sign_of
from bench.stats.fronts import AttainmentBand, Reference, reference_for
from bench.tracking.view import run_address
from bench.trial.record import EVAL, MODEL, RECORD, TrialFolder

MOST_LISTED = 1000  # trained models; all of them are in points.csv
MOST_PARTS = 10  # of a network, that a figure can tell apart
ELSEWHERE = "elsewhere"  # in no layer with weights
#: presets whose models are those of the publications, so that a figure may show both
DRAWN = ("full", "paper")
#: where ``bench ui`` shows the runs unless it is told another port
MLFLOW_UI = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Links:
    """Of one trial: its folder relative to the report, name and address of the files there, and its run in the MLflow
    UI; None if it has not been tracked in a known experiment."""

    folder: str
    files: list[tuple[str, str]]
    run: str | None


@dataclass(frozen=True)
class ReportData:
    """What a report is made from. Tables are described by the functions of ``quality`` and ``costs`` that make them.

    Attributes:
        reference: the frozen box of hypervolumes; None for a metric without natural ends.
        troubles: the trained models that failed or missed their budget.
        chosen: ``chosen_points``, with front (whether no other point beats it) and trials (for each seed: seed, key,
            run_id).
        models: the trained models of the chosen points, with their scores as ``dev`` and ``eval``.
        trials: the trained models that are listed: with thousands of them the chosen ones, then the best on dev.
        links: of the trials that are listed, in trouble or chosen, by key.
        duels: by the MACs that are executed.
        duels_if_free: the same if zeros cost nothing.
        hypervolumes, chance, bands, camp_bands: empty without a reference; bands by method, and by camp.
        items_missing: chosen models without usable item scores, where others have them.
        theory: share and score of the best possible points, cheapest first; empty where they are not known.
        published_drawn: those that figures show; none unless the preset trains the models of the publications.
        breakdown: parts of the eval score, one row a chosen point (method, budget) and one column a part.
        layers: what parts of the network take of the dense latency, likewise; empty where layers were not timed.
        tuning_gains: as the function of that name gives them.
    """

    points: Points
    reference: Reference | None
    troubles: pd.DataFrame
    chosen: pd.DataFrame
    models: pd.DataFrame
    trials: pd.DataFrame
    links: Mapping[str, Links]
    duels: pd.DataFrame
    duels_if_free: pd.DataFrame
    best: pd.DataFrame
    undiminished: pd.DataFrame
    verdicts: Verdicts
    attribution: pd.DataFrame
    hypervolumes: pd.DataFrame
    chance: pd.DataFrame
    bands: Mapping[str, AttainmentBand]
    camp_bands: Mapping[str, AttainmentBand]
    items_missing: int
    theory: pd.DataFrame
    excess: pd.DataFrame
    speedup: pd.DataFrame
    training: pd.DataFrame
    handed: pd.DataFrame
    published: pd.DataFrame
    published_drawn: pd.DataFrame
    breakdown: pd.DataFrame
    layers: pd.DataFrame
    tuning_gains: list[float]

    @property
    def metric(self) -> Metric:
        return self.points.metric

    @property
    def sign(self) -> Sign:
        return sign_of(self.metric)

    @property
    def index(self) -> dict[str, Any]:
        return self.points.index

    @property
    def budgets(self) -> list[float]:
        return list(self.points.index["budgets"])

    @property
    def dense_starts(self) -> dict[float, float]:
        """Mean dev score of the dense models that post-hoc methods start from, by share of the steps."""
        starts = self.points.checkpoints
        shares = sorted({share for _, share in starts})
        return {share: fmean(dev for (_, own), dev in starts.items() if own == share) for share in shares}

    @property
    def declined(self) -> list[tuple[str, str]]:
        """The methods that do not apply to this task or model, with the reason they gave."""
        own = self.points.table[self.points.table["status"] == "declined"]
        return list(dict.fromkeys(zip(own["method"], own["reason"], strict=True)))


def report_data(points: Points) -> ReportData:
    """Compute everything; nothing is computed again downstream."""
    index, sign, reference = points.index, sign_of(points.metric), reference_for(points.metric)
    numbers = ("budget", COST, SPARED, "macs_ratio", "effective_macs_ratio", "dev", "eval", "best_possible")
    trained = chosen_models(points).astype(dict.fromkeys(numbers, float))
    budgets, chosen = list(index["budgets"]), chosen_points(points)
    chosen = chosen.assign(
        front=quality.on_front(chosen, sign), trials=pd.Series(_trials_of(chosen, trained), dtype=object)
    )
    kinds = {str(method): str(kind) for method, kind in zip(chosen["method"], chosen["kind"], strict=True)}
    scored = trained.set_index("key")["eval"].dropna().items()
    scores = {str(key): float(score) for key, score in scored}  # two method specs may mean one trial
    items = {key: TrialFolder.of(points.folder, key).item_scores() for key in scores}
    draws, counted = quality.draw_items(items, scores), _counted(trained, points.metric)
    entries, by_seed = quality.contenders(counted, kinds, draws), quality.seed_points(counted)
    theory = pd.DataFrame(index.get("best_possible") or [], columns=["share", "score"], dtype=float)
    trials, troubles = _listed(points), points.trained[points.trained["status"] != "complete"]
    drawn, keys = index["preset"] in DRAWN, dict.fromkeys([*trials["key"], *troubles["key"], *trained["key"]])
    model = str(index["setting"]["fields"].get("model", ""))
    published = costs.published_points(index["task"], model, points.metric.column)
    return ReportData(
        points=points,
        reference=reference,
        troubles=troubles,
        chosen=chosen,
        models=trained,
        trials=trials,
        links={str(key): _links(points, str(key)) for key in keys},
        duels=quality.duel_table(chosen, budgets, sign, COST),
        duels_if_free=quality.duel_table(chosen, budgets, sign, SPARED),
        best=quality.best_table(entries, budgets, sign),
        undiminished=quality.undiminished_table(counted, kinds, draws, sign),
        verdicts=verdicts(counted, kinds, budgets, sign),
        attribution=attribution_table(chosen, trained, budgets, sign),
        hypervolumes=quality.hypervolume_table(entries, chosen, reference, theory) if reference else pd.DataFrame(),
        chance=quality.chance_table(by_seed, kinds, reference) if reference else pd.DataFrame(),
        bands=quality.attainment_bands(by_seed, reference) if reference else {},
        camp_bands=quality.attainment_bands(quality.camp_points(by_seed, kinds), reference) if reference else {},
        items_missing=len(scores) - len(draws.scores) if draws.scores else 0,
        theory=theory,
        excess=costs.excess_table(trained, kinds, budgets, sign),
        speedup=costs.speedup_table(chosen),
        training=costs.training_table(points.trained, kinds),
        handed=costs.handed_table(chosen, trained, points.checkpoints, sign),
        published=published,
        published_drawn=published.dropna(subset=["share"]) if drawn and len(published) else pd.DataFrame(),
        breakdown=_breakdown(points, chosen),
        layers=_layers(points, chosen),
        tuning_gains=tuning_gains(points),
    )


def _counted(trained: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Those that have come to an end: scored, failed, or with their budget missed, which have the worst scores."""
    worst = trained["status"].isin(["failed", "missed"])
    finished = trained[[COST, SPARED, "dev", "eval"]].notna().all(axis=1)
    scores = trained[["dev", "eval"]].mask(worst, metric.worst)
    return trained.assign(dev=scores["dev"], eval=scores["eval"])[worst | finished]


def _trials_of(chosen: pd.DataFrame, trained: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    """For each chosen point its trials, by seed."""
    groups = trained.sort_values("seed").groupby(["method", "trial"])[["seed", "key", "run_id"]]
    found = {setting: own.to_dict("records") for setting, own in groups}
    return [found[setting] for setting in zip(chosen["method"], chosen["trial"], strict=True)]


def _listed(points: Points) -> pd.DataFrame:
    best_first = points.metric.direction == "minimize"
    ranked = points.trained.sort_values(points.dev_column, ascending=best_first, kind="stable")
    ranked = ranked.sort_values("chosen", ascending=False, kind="stable", key=lambda chosen: chosen.astype(bool))
    return points.trained.loc[sorted(ranked.index[:MOST_LISTED])]


def _links(points: Points, key: str) -> Links:
    folder, address = TrialFolder.of(points.folder, key), f"trials/{quote(key)}/"
    tracked = folder.mlflow_note()
    run, experiment = tracked.get("run_id"), tracked.get("experiment_id")
    page = MLFLOW_UI + run_address(quote(str(experiment)), quote(str(run))) if run and experiment else None
    named = {"record": RECORD, "model": MODEL, "scores": EVAL}
    return Links(
        address, [(name, address + file) for name, file in named.items() if (folder.path / file).exists()], page
    )


def _breakdown(points: Points, chosen: pd.DataFrame) -> pd.DataFrame:
    """The parts of the headline score on eval (by attack, by noise level), as means over seeds."""
    prefix = f"{points.metric.column}/"
    parts = {
        key: {name.removeprefix(prefix): value for name, value in scores.items() if name.startswith(prefix)}
        for key, scores in points.eval_scores.items()
    }
    rows = [[parts.get(trial["key"], {}) for trial in trials] for trials in chosen["trials"]]
    names = list(dict.fromkeys(part for scores in parts.values() for part in scores))
    means = [pd.DataFrame(own, columns=names, dtype=float).mean() for own in rows]
    keys = pd.MultiIndex.from_frame(chosen[["method", "budget"]])
    return pd.DataFrame(means, columns=names).set_axis(keys).dropna(how="all")


def _layers(points: Points, chosen: pd.DataFrame) -> pd.DataFrame:
    """What each part of the network takes, as shares of the dense model's latency: means over seeds."""
    ratios = points.by_key["latency_ratio"].dropna()
    spent = {key: TrialFolder.of(points.folder, str(key)).layer_latency_ms() for key in ratios.index}
    parts = _coarse(list(dict.fromkeys(layer for own in spent.values() for layer in own)))
    means = []
    for trials in chosen["trials"]:
        shares = pd.DataFrame(columns=list(dict.fromkeys(parts.values())), dtype=float)
        for key in (trial["key"] for trial in trials if spent.get(trial["key"])):
            whole = sum(spent[key].values()) / ratios[key]
            shares.loc[key] = 0.0
            for layer, ms in spent[key].items():
                shares.loc[key, parts[layer]] += ms / whole
        means.append(shares.mean())
    return pd.DataFrame(means).set_axis(pd.MultiIndex.from_frame(chosen[["method", "budget"]])).dropna(how="all")


def _coarse(layers: list[str]) -> dict[str, str]:
    """The part of the network that each layer belongs to: as many names of modules deep as give few enough parts."""
    parts: dict[str, str] = {}
    for depth in range(max((layer.count(".") for layer in layers), default=0) + 1, 0, -1):
        parts = {layer: ".".join(layer.split(".")[:depth]) or ELSEWHERE for layer in layers}
        if len(set(parts.values())) <= MOST_PARTS:
            break
    return parts
