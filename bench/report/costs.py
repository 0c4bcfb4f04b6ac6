"""What speed, training and distance from the optimum come to, and what others have published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from bench.results.selection import budget_class, models_at
from bench.stats.estimates import Sign, mean_of

#: dev scores of the dense models that methods start from, by seed and share of the steps
Starts = Mapping[tuple[int, float], float]
#: lies beside the package in the source tree; an installed package has none, which is no mistake
PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "reference"
#: speed-ups by what was timed; a column is left out where nothing has been timed so
TIMED = {
    "latency_ratio": "real speed-up",
    "latency_chunk_ratio": "on a streaming chunk",
    "latency_utterance_ratio": "on a whole utterance",
    "latency_eager_ratio": "in PyTorch eager",
}
#: what is said of the latency itself
LATENCIES = {
    "latency_ms": "CPU ms",
    "latency_real_time": "real-time factor",
    "latency_chunk_real_time": "that of a streaming chunk",
    "latency_wall_ms": "wall-clock ms, median",
    "latency_p95_ms": "wall-clock ms, 95th percentile",
    "latency_spread": "spread of the ratio over repeats",
}
#: what effort is counted in: its name, the column of a trial's own, and that of the dense model it started from
EFFORTS = {
    "steps": ("steps", "train_steps", "start_steps"),
    "macs": ("MACs", "train_macs", "start_train_macs"),
    "cpu_s": ("CPU s", "train_cpu_s", "start_cpu_s"),
}
#: by the column of the dense model a trial started from, that of the one it learned from
TAUGHT = {"start_train_macs": "teacher_train_macs", "start_cpu_s": "teacher_cpu_s"}
#: by column: whom it is for
LEDGERS = {"scratch": "from scratch", "given": "given a dense model", "tuning": "whole tuning"}


def speedup_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """One row for each timed chosen point: how many times cheaper and how many times faster than the dense model.

    Columns: method, kind, budget, model; ``executed`` and ``theoretical`` (MACs of the dense model over those
    executed, and over those left without zeros); one for each of ``TIMED`` that was measured; ``realised`` (the share
    of the theoretical speed-up that is real); one for each of ``LATENCIES`` that was measured.
    """
    table = chosen[(chosen["latency_ratio"] > 0) & (chosen["effective_macs_ratio"] > 0)].reset_index(drop=True)
    found = table[["method", "kind", "budget", "model"]].copy()
    found["executed"], found["theoretical"] = 1 / table["macs_ratio"], 1 / table["effective_macs_ratio"]
    measured = {str(name) for name in table if table[name].notna().any()} | {"latency_ratio"}
    times, also = ([name for name in names if name in measured] for names in (TIMED, LATENCIES))
    found[times] = 1 / table[times]
    found["realised"] = found["latency_ratio"] / found["theoretical"]
    found[also] = table[also]
    return found


def training_table(trials: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """One row for each method: what its training cost, from all trained models as in ``points.csv``.

    Columns: method, kind; ``models`` (trained in all: every trial of the search and the repeats with other seeds);
    then for each ledger and effort ``<ledger>_<effort>``: ``scratch`` (mean over the chosen models: their own effort
    and that of the dense model they start from), ``given`` (their own alone) and ``tuning`` (all models of the method,
    the dense model counted once for each seed). NaN where it was not recorded.
    """
    table = _efforts(trials)
    rows = []
    for method, kind in kinds.items():
        own = table[table["method"] == method]
        chosen = own[own["chosen"].astype(bool)]
        row: dict[str, object] = {"method": method, "kind": kind, "models": len(own)}
        for effort, (_, trained, start) in EFFORTS.items():
            row[f"scratch_{effort}"] = (chosen[trained] + chosen[start]).mean()
            row[f"given_{effort}"] = chosen[trained].mean()
            starts = own.groupby("seed")[start].max().sum(skipna=False)
            row[f"tuning_{effort}"] = own[trained].sum(min_count=1) + starts
        rows.append(row)
    names = [f"{ledger}_{effort}" for ledger in LEDGERS for effort in EFFORTS]
    return pd.DataFrame(rows, columns=["method", "kind", "models", *names])


def handed_table(chosen: pd.DataFrame, models: pd.DataFrame, starts: Starts, sign: Sign) -> pd.DataFrame:
    """One row for each chosen point: what somebody gets who is handed a trained model, by the steps after it.

    Columns: budget, method, kind, ``trained`` (share of all steps that the model handed over has seen; NaN for methods
    that start anew), ``start`` (its dev score), ``steps`` (of the method itself), dev, eval, ``worse`` (than the dense
    model of the same seed on eval, an ``Estimate``; None without one). The points of each budget stand together, fewest
    steps first. Empty if no method starts from a trained model.

    Args:
        chosen: the chosen points.
        models: their trained models.
        starts: dev scores of the dense models that methods start from, by seed and share of the steps.
    """
    dense = models[models["method"] == "dense"].set_index("seed")["eval"]
    rows = []
    for point in chosen[chosen["valid"] & chosen["budget"].notna()].to_dict("records"):
        own = models_at(models, point["method"], point["trial"]).set_index("seed")
        trained = own["dense_share"].astype(float).iloc[0]
        begun = [starts[seed, trained] for seed in own.index if (seed, trained) in starts]
        gaps = (sign * (own["eval"] - dense)).dropna().to_numpy(dtype=float)
        row = {name: point[name] for name in ("budget", "method", "kind", "dev", "eval")}
        row |= {"trained": trained, "start": fmean(begun) if begun else math.nan}
        row |= {"steps": own["train_steps"].astype(float).mean(), "worse": mean_of(gaps) if len(gaps) else None}
        rows.append(row)
    table = pd.DataFrame(
        rows, columns=["budget", "method", "kind", "trained", "start", "steps", "dev", "eval", "worse"]
    )
    if table["trained"].isna().all():
        return table[:0]
    ordered = table.sort_values(["budget", "steps"], ascending=[False, True], kind="stable")
    return ordered.reset_index(drop=True)


def _efforts(trials: pd.DataFrame) -> pd.DataFrame:
    """The trained models with their efforts as numbers; what older results have not recorded is NaN."""
    table = trials.assign(start_steps=trials["total_steps"].astype(float) - trials["train_steps"].astype(float))
    for _, trained, start in EFFORTS.values():
        table[trained] = table[trained].astype(float)
        table[start] = table[start].astype(float).mask(table["start_steps"] == 0, 0.0)
        if start in TAUGHT and TAUGHT[start] in table:
            table[start] += table[TAUGHT[start]].astype(float).fillna(0.0)
    return table


def excess_table(trained: pd.DataFrame, kinds: Mapping[str, str], budgets: Sequence[float], sign: Sign) -> pd.DataFrame:
    """One row for each method: how much worse than the best possible at the compute that was delivered, in percent.

    Of the chosen models it takes method, budget (asked for), eval and best_possible (NaN where it is not known).

    Columns: method, kind, ``mean`` and ``worst`` over the trained models of all chosen points, and one column for each
    budget with the mean over the models that were candidates for it. Empty where the best possible is not known.
    """
    best = trained["best_possible"].where(trained["best_possible"] != 0)
    table = trained.assign(excess=100 * sign * (trained["eval"] - best) / best.abs())
    table["class"] = [budget_class(asked, budgets) for asked in table["budget"]]
    of_method = dict(iter(table.dropna(subset=["excess"]).groupby("method")))
    rows = []
    for method, kind in kinds.items():
        if (own := of_method.get(method)) is not None:
            row = {"method": method, "kind": kind, "mean": own["excess"].mean(), "worst": own["excess"].max()}
            rows.append(row | {budget: own.loc[own["class"] == budget, "excess"].mean() for budget in budgets})
    return pd.DataFrame(rows, columns=["method", "kind", "mean", "worst", *budgets])


def published_points(task: str, model: str, column: str) -> pd.DataFrame:
    """The published scores for a task and the model in its fields by a metric's column; empty if there are none.

    Columns: model, method, setting, params, mflops_per_second, share (of the published dense model's compute; NaN
    where none was reported), score, one column for each part of the score, data, source.
    """
    path = PUBLISHED / f"published_{task}.csv"
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_csv(path, keep_default_na=False, na_values={"params": "", "mflops_per_second": ""})
    if column not in table or (table := table[table["task_model"].isin(["", model])]).empty:
        return pd.DataFrame()
    dense = table.loc[table["method"] == "dense", "mflops_per_second"].iloc[0]
    table = table.assign(share=table["mflops_per_second"] / dense).rename(columns={column: "score"})
    parts = {name: str(name).split("/", 1)[1] for name in table if str(name).startswith(f"{column}/")}
    return table.rename(columns=parts).drop(columns="task_model").reset_index(drop=True)


def part_names(published: pd.DataFrame) -> list[str]:
    """The columns of ``published_points`` that hold parts of the score."""
    known = ("model", "method", "setting", "params", "mflops_per_second", "share", "score", "data", "source")
    return [str(name) for name in published if name not in known]
