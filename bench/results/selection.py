"""Which budget a model is a candidate for, which candidates are read on eval, and the table of these choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.widths import ALLOWED

if TYPE_CHECKING:  # the search needs no tables
    import pandas as pd

    from bench.results.points import Points

#: the cost that budgets are shares of, and the same if zeros were free
COST, SPARED = "cost_ratio", "spared_ratio"
#: budgets are compared with this relative tolerance, as 1 - 0.75 is not exactly 0.25
ROUNDING = 1e-9
#: below this share of the executed MACs the rest is zeros, which a dense runtime multiplies all the same
UNSTRUCTURED = 0.9


def budget_class(asked: float | None, budgets: Sequence[float]) -> float | None:
    """The budget of its comparison that a model is a candidate for, by the share of the dense compute it asked for.

    That is the smallest budget not below what was asked; above all of them 1, or what was asked if that is more. None
    for a method without a budget, which asks for None or NaN.

    >>> budget_class(0.2, [0.5, 0.25]), budget_class(0.7, [0.5, 0.25]), budget_class(None, [0.5])
    (0.25, 1.0, None)
    """
    if asked is None or math.isnan(asked):
        return None
    return next((edge for edge in sorted({*budgets, 1.0}) if asked <= edge * (1 + ROUNDING)), asked)


def frozen_choices(
    asked: Mapping[int, float | None], errors: Mapping[int, float | None], budgets: Sequence[float]
) -> list[int]:
    """The trials of one method that are read on eval: the best on dev in every budget class.

    Args:
        asked: compute that each trial asked for, by trial number.
        errors: dev error of each trial, smaller is better; infinite for one that missed its budget and None for a
            failed one, which are chosen only if there is no other.
    """
    classes: dict[float | None, list[int]] = {}
    for number, compute in asked.items():
        classes.setdefault(budget_class(compute, budgets), []).append(number)

    def rank(number: int) -> tuple[bool, float, int]:
        error = errors[number]
        return (error is None, error or 0.0, number)

    return sorted(min(numbers, key=rank) for numbers in classes.values())


def chosen_models(points: Points) -> pd.DataFrame:
    """The trained models of the frozen choices, with their scores as ``dev`` and ``eval``, and ``spared_ratio``.

    A cost that is a measurement and by no more than its tolerance above the budget counts as the budget.
    """
    chosen = points.trained[points.trained["chosen"].astype(bool)]
    cost, budget = chosen[COST].astype(float), chosen["budget"].astype(float)
    cost = cost.mask((cost > budget) & (cost <= budget * ALLOWED[points.cost]), budget)
    spared = chosen["effective_macs_ratio"] if points.cost == "macs" else cost
    return chosen.assign(**{COST: cost, SPARED: spared}).rename(
        columns={points.dev_column: "dev", points.eval_column: "eval"}
    )


def tuning_gains(points: Points) -> list[float]:
    """By how much the chosen settings of each tuned point are better on dev than the first ones, in the metric's unit.

    The first settings that a search tries within a budget are the defaults of the method; 0 where they were chosen. All
    have one seed, so a part of a gain is luck.
    """
    sign, searched = (1 if points.metric.direction == "minimize" else -1), points.trained[points.trained["seed"] == 0]
    within = searched["budget"].astype(float).map(lambda asked: budget_class(asked, points.index["budgets"]))
    gains = []
    for _, own in searched.assign(within=within).sort_values("trial").groupby(["method", "within"], dropna=False):
        chosen = own.loc[own["chosen"].astype(bool), points.dev_column]
        if len(own) > 1 and len(chosen):
            gains.append(sign * (float(own[points.dev_column].iloc[0]) - float(chosen.iloc[0])))
    return [gain for gain in gains if math.isfinite(gain)]


def models_at(models: pd.DataFrame, method: str, trial: int) -> pd.DataFrame:
    """The models of one setting of a method, one row a seed."""
    return models[(models["method"] == method) & (models["trial"] == trial)]


def chosen_points(points: Points) -> pd.DataFrame:
    """The frozen choices: one row for each method and chosen setting, with means over its seeds.

    A method that declined the task has no points, so it has no row. Rows are sorted: camps before controls, then by
    method, large budgets first.

    Columns: method, stage, control, kind (in-training, post-hoc or control), budget, trial; the means of all costs,
    of ``dev`` and of ``eval`` (in the unit of the metric); ``eval_std``, ``eval_min`` and ``eval_max`` over seeds;
    model and model_seed (key and seed of the one of its models that is best on dev; None if there is none); seeds,
    scored (how many have an eval score), failed and missed (how many); valid (none failed or missed its budget);
    unstructured (its zeros save MACs in theory only); simulated (its bits save bit operations in theory only);
    size_ratio and memory_ratio (to the dense model; NaN without one).
    """
    numbers = ["dev", "eval", "params", "macs", COST, SPARED, "macs_ratio", "effective_macs_ratio", "bops_ratio"]
    numbers += ["size_bytes", "memory_bytes"]
    numbers += ["train_steps", "total_steps", "cpu_s"]
    numbers += [str(name) for name in points.table if str(name).startswith("latency_")]
    keys = ["method", "stage", "control", "budget", "trial"]
    # a column nobody has a number for holds None, and a mean of those is an error
    table = chosen_models(points).astype({**dict.fromkeys([*numbers, "budget"], float), "control": bool})
    table = table.assign(**{status: table["status"] == status for status in ("failed", "missed")})
    table = table.assign(simulated=table["simulated"].eq(True))
    grouped = table.groupby(keys, dropna=False, sort=False)
    means = grouped[numbers].mean()
    for spread in ("std", "min", "max"):
        means[f"eval_{spread}"] = grouped["eval"].agg(spread)
    means["seeds"], means["scored"] = grouped.size(), grouped["eval"].count()
    means[["failed", "missed"]] = grouped[["failed", "missed"]].sum()
    means["simulated"] = grouped["simulated"].any()
    means["valid"] = (means["failed"] == 0) & (means["missed"] == 0)
    means["unstructured"] = means["effective_macs_ratio"] < UNSTRUCTURED * means["macs_ratio"]
    dense = means.query("method == 'dense'").mean(numeric_only=True)
    for ratio, column in {"size_ratio": "size_bytes", "memory_ratio": "memory_bytes"}.items():
        means[ratio] = means[column] / dense[column]
    order = ["control", "stage", "method", "budget"]
    found = means.reset_index().sort_values(order, ascending=[True, True, True, False], ignore_index=True)
    delivered = table[table["dev"].notna() & ~table["failed"]]
    delivered = delivered.sort_values("dev", ascending=points.metric.direction == "minimize", kind="stable")
    best = delivered.drop_duplicates(["method", "trial"])[["method", "trial", "key", "seed"]]
    found = found.merge(best.rename(columns={"key": "model", "seed": "model_seed"}), "left", ["method", "trial"])
    return found.assign(kind=found["stage"].str.replace("_", "-").mask(found["control"], "control"))
