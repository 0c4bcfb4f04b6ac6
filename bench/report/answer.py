"""The question, answered for one run in plain words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.report.chance import CAMPS as CAMPS_TOGETHER
from bench.report.chance import chance_table
from bench.report.chosen import chosen_points, counts
from bench.report.numbers import score, title
from bench.results.points import Points
from bench.stats.significance import seeds_needed

HARDLY = 0.01  # of the mean score: a difference below this is called none
CAMPS = {"in_training": "while it trains", "post_hoc": "afterwards"}


def budget_duels(points: Points, cost: str = "macs_ratio") -> pd.DataFrame:
    """For every budget the best method of each camp: chosen on dev, read on eval.

    A camp's candidates at a budget are its chosen models that cost at most that share of the dense model. Controls
    belong to neither camp; a model one of whose seeds failed or missed its budget is no candidate.

    Args:
        points: the points.
        cost: the column that must be within the budget; ``effective_macs_ratio`` counts zeros as free.

    Returns:
        Columns: budget; for in_training, post_hoc and uniform (the control) the method, its ``_score``, its ``_std``
        and its ``_seeds``.
    """
    table = chosen_points(points)
    table = table[counts(table) & table[points.eval_column].notna()]
    rows = []
    for budget in points.index["budgets"]:
        within = table[table[cost] <= budget * (1 + 1e-9)]
        row: dict[str, object] = {"budget": budget}
        for camp in CAMPS:
            row |= _side(points, camp, within[(within["stage"] == camp) & ~within["control"]])
        row |= _side(points, "uniform", within[within["method"] == "uniform_width"])
        rows.append(row)
    return pd.DataFrame(rows)


def answer(points: Points) -> str:
    """One or two sentences: which camp is ahead at how many budgets, and how far this can be trusted."""
    every = budget_duels(points)
    duels = every.dropna(subset=["in_training_score", "post_hoc_score"])
    if duels.empty:
        return _no_answer(points, every)
    seeds = int(min(duels["in_training_seeds"].min(), duels["post_hoc_seeds"].min()))
    sentences = [_level(duels, _gaps(points, duels)) or _verdict(points, _gaps(points, duels), len(every))]
    sentences.append(_trust(points, seeds))
    if points.index["preset"] == "smoke":
        sentences.append("The smoke preset only checks that everything runs: it trains too briefly to answer anything.")
    return " ".join(sentences)


def _level(duels: pd.DataFrame, gaps: pd.Series[float]) -> str:
    """Said instead of a verdict where the camps differ by next to nothing, whoever is ahead of whom."""
    scores = duels[["in_training_score", "post_hoc_score"]].abs().to_numpy()
    if not gaps.any() or gaps.abs().max() >= HARDLY * scores.mean():
        return ""
    return (
        f"Hardly a difference: at each of the {len(gaps)} budgets the best methods of the two camps (chosen on dev) "
        f"differ on eval by less than {HARDLY:.0%} of the mean score."
    )


def _verdict(points: Points, gaps: pd.Series[float], budgets: int) -> str:
    """Who is ahead; that takes most budgets and the mean, as one budget can outweigh all others."""
    wins, losses, count, mean = int((gaps > 0).sum()), int((gaps < 0).sum()), len(gaps), float(gaps.mean())
    metric = points.metric
    by = f"{score(abs(mean))} {'points' if metric.unit == 'percent' else metric.unit} of {title(metric)}"
    edges = sorted(gaps if mean > 0 else -gaps)
    span = f" (from {score(edges[0])} to {score(edges[-1])})" if count > 1 else ""
    where = f"{count} budget{'s' * (count > 1)}" + (" that both camps reached" if count < budgets else "")
    if not wins and not losses:
        return f"No difference: the best method of each camp (chosen on dev) has the same eval score at {where}."
    on_mean, rival = ("in-training", "post-hoc") if mean > 0 else ("post-hoc", "in-training")
    on_count, most = ("in-training" if wins > losses else "post-hoc"), max(wins, losses)
    if wins == losses or on_count != on_mean or abs(mean) < 1e-9:
        count_of = f"each camp wins {wins}" if wins == losses else f"the best {on_count} method wins {most}"
        level = "on average both score the same" if abs(mean) < 1e-9 else f"on average {on_mean} is {by} better"
        return f"Neither is ahead: {count_of} of {where} on eval, and {level}."
    return (
        f"On this run the network is better compressed {CAMPS[on_mean.replace('-', '_')]}: the best {on_mean} method "
        f"(chosen on dev) beats the best {rival} one on eval at {most} of {where}, by {by} on average{span}."
    )


def _trust(points: Points, seeds: int) -> str:
    """Whether so many seeds can tell the camps apart, and if so whether they do."""
    needed = seeds_needed(paired=True)
    if seeds < needed:
        rests = "This rests on 1 seed, which is" if seeds == 1 else f"This rests on {seeds} seeds, which are"
        return f"{rests} too few to tell whether the difference is more than chance ({needed} are needed)."
    tested = chance_table(points)
    camps = tested[tested["first"] == CAMPS_TOGETHER[0]]
    if camps.empty:
        return f"This rests on {seeds} seeds; whether the difference is more than chance has not been tested."
    return f"This rests on {seeds} seeds; for the hypervolumes of the two camps {camps['sentence'].iloc[0]}."


def _no_answer(points: Points, duels: pd.DataFrame) -> str:
    """Why there is none."""
    contenders = chosen_points(points).query("not control")
    scored = contenders[counts(contenders) & contenders[points.eval_column].notna()]
    if not contenders.empty and contenders[points.eval_column].isna().all():
        return "No answer yet: no compressed model has been scored on eval."
    # a model within a budget is within every larger one, so a camp that reached any has met the other at the largest
    camp = next(camp for camp in CAMPS if duels[f"{camp}_score"].isna().all())
    name = camp.replace("_", "-")
    if not (contenders["stage"] == camp).any():
        declined = points.table.query("status == 'declined' and stage == @camp and not control")["method"].unique()
        if len(declined):
            return f"No answer: every {name} method that took part declined this task ({', '.join(declined)})."
        return f"No answer: no {name} method (one that compresses {CAMPS[camp]}) took part."
    if not (scored["stage"] == camp).any():
        return f"No answer: no {name} method has a finished model."
    return f"No answer: no {name} method has a finished model within any budget."


def _gaps(points: Points, duels: pd.DataFrame) -> pd.Series[float]:
    """How much better in-training is at each budget, in the unit of the metric."""
    sign = 1 if points.metric.direction == "minimize" else -1
    return sign * (duels["post_hoc_score"].astype(float) - duels["in_training_score"].astype(float))


def _side(points: Points, side: str, table: pd.DataFrame) -> dict[str, object]:
    best = _best(points, table)
    return {
        side: None if best is None else best["method"],
        f"{side}_score": None if best is None else best[points.eval_column],
        f"{side}_std": None if best is None else best[f"{points.eval_column}_std"],
        f"{side}_seeds": None if best is None else best["scored"],
    }


def _best(points: Points, table: pd.DataFrame) -> pd.Series[Any] | None:
    if table.empty:
        return None
    ascending = points.metric.direction == "minimize"
    return table.sort_values(points.dev_column, ascending=ascending, kind="stable").iloc[0]
