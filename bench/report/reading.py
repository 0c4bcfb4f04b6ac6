"""What a reader must know before believing a number: limits of this run, and the rules it kept to."""

import pandas as pd

from bench.report.chosen import chosen_points
from bench.report.numbers import percent, title, unit
from bench.results.points import Points
from bench.stats.fronts import reference_for
from bench.storage.provenance import without_password

_COUNTING = (
    "Failures and missed budgets count as worst: a point one of whose seeds failed, or cost more than was asked for, "
    "is no candidate at any budget and covers nothing.",
    "Intervals repeat the choice of the point in every draw. Items that depend on one another (the frames of one "
    "recording) are drawn together, with the same draws for all models; seeds and items are drawn across each other, "
    "which errs on the wide side.",
)


def limits(points: Points) -> list[str]:
    """What this run cannot say, beyond what the answer says of its seeds."""
    index, said = points.index, []
    if index["setting"]["fields"].get("data") == "embedded":
        said.append("The embedded data is generated speech. Its scores say nothing about real corpora.")
    if index.get("best_possible"):
        said.append(
            "The best possible score of this task follows from theory. What is seen here is how close methods come to "
            "it, which says nothing about real data."
        )
    chosen = chosen_points(points)
    if len(chosen) and chosen["latency_ratio"].isna().any():
        said.append("Latency has not been measured for every chosen point; the run was interrupted or a trial failed.")
    if len(chosen) and chosen[points.eval_column].isna().any():
        said.append("Not every chosen point has an eval score; the run was interrupted or a trial failed.")
    return said


def rules(points: Points) -> list[str]:
    """How to read the report, one sentence or two a rule, with this run's own figures."""
    plan = points.index["plan"]
    dense, tune = plan["dense_steps"], plan["finetune_steps"]
    camps = chosen_points(points).query("not control").groupby("stage")["method"].nunique()
    trials = points.table[points.table["status"] != "declined"].groupby("method")["trial"].nunique()
    seeds = int(points.index["seeds"])
    said = [
        f"Equal effort: {_effort(points)} An in-training method starts from a fresh dense model and has all of them. "
        f"A post-hoc method starts from a copy of one dense model that was trained for {dense:,} steps, shared by all "
        f"of its seed, and has the other {tune:,}.",
        "Equal tuning: a method has one trial for each budget (one in all if it takes none), with its defaults, and "
        "then as many trials to tune its settings and its learning rate as every other method; here that came to "
        f"{_span(trials)} trials a method. In-training methods here: {camps.get('in_training', 0)}; post-hoc: "
        f"{camps.get('post_hoc', 0)}.",
        _audited(points),
        "dev chooses, eval reports: within a method and a budget the trial with the best dev score is frozen, and "
        "only then is eval read, once.",
        f"Seeds: each chosen point was trained {seeds} time{'s' * (seeds > 1)}; scores are means, "
        "± is the standard deviation, bars in the figures reach from the best seed to the worst."
        if seeds > 1
        else "Seeds: each chosen point was trained once, so no spread is shown.",
        *_COUNTING,
        f"MACs are multiply-accumulates for one {points.work_unit}, counted in the exported file as it is executed. "
        "Non-zero MACs leave out weights that are zero: a theoretical saving, which a dense runtime does not realise. "
        "Latency is measured on the exported file against the dense model's; speed is claimed from it alone.",
        "A budget is a share of the dense model's MACs. A method without one (it changes weights or bits, not "
        "widths) stands in the tables at what it really costs, so it may reach no budget.",
    ]
    if (reference := reference_for(points.metric)) is not None:
        said.append(
            f"Hypervolume is the share of a fixed box that a method's points dominate: cost from "
            f"{percent(reference.cheapest)} to {percent(reference.dearest)} of the dense model in halvings, "
            f"{title(points.metric)} from {reference.best:g} to {reference.worst:g} {unit(points.metric)}. "
            f"The reference point ({percent(reference.dearest)}, {reference.worst:g} {unit(points.metric)}) is the "
            "same in every run. Both axes are normalised to run from 0 to 1 across the box; what is cheaper or better "
            "than its corner counts as the corner. 1 is perfect at the smallest cost; 0 means no point inside, as for "
            "models that cost as much as the dense one. Median attainment surfaces are cut at the same box."
        )
    return said


def _audited(points: Points) -> str:
    """How many models another process than the one that trained them has found to be what they were said to be."""
    held = int(points.table["status"].isin(["complete", "missed"]).sum())
    fell = int(points.table["reason"].fillna("").str.startswith("audit:").sum())
    return (
        "Delivered, not asked: a process that has not trained the model reads its exported file, compares its outputs, "
        "builds the module again from its recipe, counts weights and MACs, and scores dev. "
        f"{held} of {held + fell} finished models passed this audit."
    )


def _effort(points: Points) -> str:
    """How many training steps the models have seen, those of the dense model they start from among them."""
    whole = int(points.index["plan"]["dense_steps"] + points.index["plan"]["finetune_steps"])
    finished = points.table["total_steps"].dropna()
    if (fewer := int((finished < whole).sum())) == 0:
        return f"every finished model has seen {whole:,} training steps in the end."
    return f"a model sees at most {whole:,} training steps in the end; {fewer} of {len(finished)} used fewer."


def _span(counts: "pd.Series[int]") -> str:
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return f"{low}" if low == high else f"{low} to {high}"


def controls() -> list[tuple[str, str]]:
    """What each control is there for."""
    return [
        ("dense", "no compression: what everything is compared with, trained for as many steps as the others."),
        ("uniform_width", "the same network made narrower and trained from scratch. A method that does not beat it at "
         "the same compute is not worth its trouble."),
        ("random_pruning", "channels removed at random from the trained dense model, then fine-tuned. A post-hoc "
         "criterion must beat it."),
    ]  # fmt: skip


def troubles(points: Points) -> pd.DataFrame:
    """Every trial that failed or missed its budget: method, budget, seed, trial, status, chosen, reason, key."""
    table = points.table[~points.table["status"].isin(["complete", "declined"])]
    return table[["method", "budget", "seed", "trial", "status", "chosen", "reason", "key"]]


def declined(points: Points) -> list[tuple[str, str]]:
    """The methods that do not apply to this task or model, with the reason they gave. That is no failure."""
    table = points.table[points.table["status"] == "declined"]
    return list(dict.fromkeys(zip(table["method"], table["reason"], strict=True)))


def notes(points: Points) -> list[tuple[str, list[str]]]:
    """What methods say beside their results, such as a width that they left alone: each sentence once a method."""
    return list(points.notes.items())


def provenance(points: Points) -> list[tuple[str, list[tuple[str, str]]]]:
    """Where the numbers come from, in groups of names and values."""
    index = points.index
    origin, setting = dict(index["provenance"]), dict(index["setting"])
    packages = origin.pop("packages", {})
    fields, plan = setting.pop("fields", {}), setting.pop("plan", {})
    data = {"digest of the data": setting.pop("data", "") or "none", **fields}
    asked = {"budgets": ", ".join(percent(b) for b in index["budgets"]), "seeds": index["seeds"]}
    groups = {
        "run": {**origin, "points": index["identity"]},
        "task and data": data,
        "plan": {**plan, **asked},
        "code": {**{f"setting: {name}": value for name, value in setting.items() if name != "plan"}, **packages},
    }
    return [
        (name, [(key, without_password(str(value))) for key, value in group.items()]) for name, group in groups.items()
    ]
