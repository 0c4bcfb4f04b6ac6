"""The question, answered for one comparison in plain words, and what to know before believing it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bench.report.attribution import PARTS
from bench.report.cells import (
    METHOD,
    SIMULATED,
    TEXTS,
    Field,
    cell_of,
    estimated,
    extra,
    in_bytes,
    metric_name,
    percent,
    records,
    score,
    short,
    signed,
    table_of,
    unit,
    written,
)
from bench.report.data import ReportData
from bench.report.document import Section, Table, Text
from bench.report.quality import CAMPS
from bench.report.verdict import Verdict
from bench.stats.estimates import CONFIDENCE, Estimate
from bench.stats.significance import TOO_FEW, seeds_needed

WIDE = 128  # columns that the whole table of the terminal needs
ONLY_WIDE = ("MACs", "params", "size")
WHEN = {"in-training": "while it trains", "post-hoc": "afterwards"}


def answer(data: ReportData) -> str:
    """Which camp is better over all and at each budget, first word first; or why nobody can say."""
    found = data.verdicts
    if found.overall is None:
        return _no_answer(data)
    seeds, missed = found.overall.gap.n, len(data.budgets) - len(found.budgets)
    where = "over all budgets" if len(found.budgets) > 1 else f"at {percent(found.budgets[0].budget or 1)}"
    where += " that both camps reached" if missed else ""
    parts = [f"{_outcome(data, found.overall, where)}."]
    if len(found.budgets) > 1:
        each = [
            f"{verdict.said} at {percent(verdict.budget or 1)}, {estimated(verdict.gap, signed)}"
            for verdict in found.budgets
        ]
        parts.append(f"Each budget by itself (above 0: for in-training): {'; '.join(each)}.")
    if found.overall.p is not None and (causes := _causes(data)):
        parts.append(causes)
    if len({*found.contenders.values()}) > 1:
        more, fewest = max(found.contenders, key=found.contenders.__getitem__), min(found.contenders.values())
        parts.append(
            f"Of the {found.contenders[more]} {more} methods {fewest} at a time were drawn, as many as the other has, "
            "and the gap is the mean over these draws: a weak method counts. The report has best against best as well."
        )
    if seeds < (needed := seeds_needed(paired=True)):
        parts.append(f"No verdict can come of {seeds} seed{'s' * (seeds > 1)}: {needed} are needed.")
    if data.index["preset"] == "smoke":
        parts.append("The smoke preset only checks that everything runs: it trains too briefly to answer anything.")
    return " ".join(parts)


def _outcome(data: ReportData, verdict: Verdict, where: str) -> str:
    """One verdict in a clause: its first word is the answer."""
    ahead = "in-training" if verdict.gap.value > 0 else "post-hoc"
    by = _amount(data, abs(verdict.gap.value))
    known = [f"{verdict.gap.n} seed{'s' * (verdict.gap.n > 1)}"]
    if verdict.gap.low is not None and verdict.gap.high is not None:
        low, high = sorted(end if verdict.gap.value > 0 else 0 - end for end in (verdict.gap.low, verdict.gap.high))
        known.insert(0, f"{percent(CONFIDENCE)} interval {score(low)} to {score(high)}")
    if verdict.winner is not None:
        return f"{verdict.winner.capitalize()} better {where} by {by} ({', '.join(known)})"
    if verdict.p is not None:
        more = verdict.seeds_to_decide
        known.append(
            f"about {more} seeds would probably decide" if more else "no number of seeds in sight would decide"
        )
    lead = f"{ahead} is ahead by {by}" if verdict.gap.value else f"both have the same {data.metric.title}"
    return f"Undecided {where}: {lead} ({', '.join(known)})"


def _amount(data: ReportData, difference: float) -> str:
    """A difference of scores in words: ``0.24 points of EER``."""
    points = "points" if data.metric.unit == "percent" else data.metric.unit
    return f"{score(difference)} {points} of {data.metric.title}"


def _causes(data: ReportData) -> str:
    """The parts of the gap over all budgets whose intervals leave out zero; empty if there are none."""
    parts = data.attribution[data.attribution["budget"].isna() | (len(data.attribution) == 1)]
    clear = [
        f"{name}, {estimated(part, signed)}"
        for column, name in PARTS.items()
        for part in parts[column].dropna()
        if part.low is not None and part.high is not None and not part.low <= 0 <= part.high
    ]
    return f"Of the parts of this gap, clear of zero: {'; '.join(clear)}." if clear else ""


def draws(data: ReportData) -> str:
    """How many contenders each camp had, and what was done about it if one had more."""
    sizes = data.verdicts.contenders
    said = " and ".join(f"{count} {kind} method{'s' * (count != 1)}" for kind, count in sizes.items())
    fewest = min(sizes.values(), default=0)
    if not fewest or len({*sizes.values()}) == 1:
        return f"{said} with a finished model took part."
    drawn = f"of the larger camp {fewest} at a time were drawn, in every way, so that both had equal luck"
    return f"{said} with a finished model took part; {drawn}, and the gap is the mean over these draws."


def _no_answer(data: ReportData) -> str:
    """Why there is none."""
    contenders = data.chosen[~data.chosen["control"]]
    scored = contenders[contenders["valid"] & contenders["eval"].notna()]
    if not contenders.empty and contenders["eval"].isna().all():
        return "No answer yet: no compressed model has been scored on eval."
    # a model within a budget is within every larger one, so a camp that reached any has met the other at the largest
    camps = [kind for kind in CAMPS if data.duels[f"{kind.replace('-', '_')}_score"].isna().all()]
    if not camps:
        return "No answer: the two camps have no seed in common that all their models were trained with."
    camp = camps[0]
    if camp not in set(contenders["kind"]):
        trials = data.points.table
        own = ~trials["control"].astype(bool) & (trials["stage"] == camp.replace("-", "_"))
        if len(declined := trials.loc[own & (trials["status"] == "declined"), "method"].unique()):
            return f"No answer: every {camp} method that took part declined this task ({', '.join(declined)})."
        return f"No answer: no {camp} method (one that compresses {WHEN[camp]}) took part."
    if camp not in set(scored["kind"]):
        return f"No answer: no {camp} method has a finished model."
    least = f"the least costs {100 * scored.loc[scored['kind'] == camp, 'cost_ratio'].min():.0f} %"
    aim = "a method aims at a budget by a field `budget`; zeros count with promises = 'mask'"
    return f"No answer: no {camp} method has a finished model within any budget, {least}; {aim}."


def limits(data: ReportData) -> list[str]:
    """What this comparison cannot say, beyond what the answer says of its seeds."""
    holds = {
        "embedded": data.index["setting"]["fields"].get("data") == "embedded",
        "untuned": data.index["trials"] <= len(data.index["budgets"]),
        "tuned": len(data.tuning_gains) > 0,
        "theory": len(data.theory) > 0,
        "latency": (data.chosen["latency_ratio"].isna() & ~data.chosen["simulated"]).any(),
        "simulated": data.chosen["simulated"].any(),
        "eval": data.chosen["eval"].isna().any(),
    }
    gains = data.tuning_gains or [0.0]
    known = {"mean_gain": score(fmean(gains)), "largest_gain": _amount(data, max(gains))}
    return [text.format(**known) for name, text in TEXTS["limits"].items() if holds[name]]


def rules(data: ReportData) -> list[str]:
    """How to read the report, one sentence or two a rule, with this comparison's own figures."""
    table, box, seeds = data.points.trained, data.reference, int(data.index["seeds"])
    each = table.groupby("method")["trial"].nunique()
    camps = data.chosen.groupby("kind")["method"].nunique()
    passed = int(table["status"].isin(["complete", "missed"]).sum())
    known: dict[str, Any] = {
        "steps": _steps(data),
        "trials": " to ".join(map(str, sorted({each.min(), each.max()}))) if len(each) else "0",
        "in_training": camps.get("in-training", 0),
        "post_hoc": camps.get("post-hoc", 0),
        "passed": passed,
        "audited": passed + int(table["reason"].fillna("").str.startswith("audit:").sum()),
        "seeds": seeds,
        "work_unit": data.points.work_unit,
        "metric": data.metric.title,
    }
    left_out = {"one_seed" if seeds > 1 else "seeds"}
    if not data.index["setting"].get("distill"):
        left_out.add("distill")
    if box is None:
        left_out.add("hypervolume")
    else:
        known |= {"cheapest": percent(box.cheapest), "dearest": percent(box.dearest), "best": box.best}
        known["worst"] = f"{box.worst:g} {unit(data.metric)}"
    return [text.format(**known) for name, text in TEXTS["rules"].items() if name not in left_out]


def _steps(data: ReportData) -> str:
    """How many training steps the models have seen, those of the dense model they start from among them."""
    plan = data.index["setting"]["plan"]
    steps = int(plan["dense_steps"] + plan["finetune_steps"])
    if data.index["setting"].get("effort") == "macs":
        return f"every model was trained with as many multiply-accumulates as {steps:,} steps of the dense model take."
    finished = data.points.table["total_steps"].dropna()
    if not (fewer := int((finished < steps).sum())):
        return f"every finished model has seen {steps:,} training steps in the end."
    return f"a model sees at most {steps:,} training steps; {fewer} of {len(finished)} used fewer."


def how_drawn(estimates: Sequence[Estimate]) -> str:
    """What intervals are drawn over and what that is worth, in a sentence or two."""
    drawn = [estimate for estimate in estimates if estimate.over != "nothing"]
    if not drawn:
        return f"There are no intervals: one seed, and no scores of single items, are {TOO_FEW}."
    over = sorted({_over(estimate) for estimate in drawn})
    said = f"Brackets hold {percent(CONFIDENCE)} bootstrap intervals over {'; or over '.join(over)}."
    seeds = min(estimate.n for estimate in drawn)
    if seeds == 1:
        return f"{said} They do not show what another seed would change: 1 seed is too few."
    if seeds < seeds_needed(paired=True):
        held = percent(round(1 - 2 / 2**seeds, 3))
        said += f" {TOO_FEW.capitalize()} small differences: the range of {seeds} seeds holds the true mean in at most"
        said += f" {held} of cases."
    return said


def _over(estimate: Estimate) -> str:
    named = {"seeds": f"{estimate.n} seeds", "items": f"{estimate.items:,} evaluation items"}
    return " and ".join(named[drawn] for drawn in estimate.over.split(" and "))


def result_sections(data: ReportData, width: int) -> list[Section]:
    """What a terminal of this width shows when a comparison has ended: the chosen points, remarks, and the answer."""
    remarks = []
    if len(data.excess):
        ranked = data.excess.sort_values("mean", kind="stable").to_dict("records")
        each = ", ".join(f"{row['method']} {extra(row['mean'])} ({extra(row['worst'])})" for row in ranked)
        remarks.append(Text(f"above the best possible at the same compute, mean (worst model): {each}"))
    remarks += [Text(f"does not apply  {method}: {reason}", "soft") for method, reason in data.declined]
    remarks += [Text(f"note  {name}: {said}", "soft") for name, notes in data.points.notes.items() for said in notes]
    told = data.troubles[(data.troubles["status"] == "failed") | data.troubles["chosen"].astype(bool)]
    reasons = [Text(f"{row['status']} {row['method']}: {row['reason']}", "bad") for row in told.to_dict("records")]
    unread = data.models[(data.models["status"] == "complete") & data.models["eval"].isna()]
    if len(unread):
        named = ", ".join(dict.fromkeys(unread["method"]))
        said = f"no scores on eval, gone or not read yet: {len(unread)} of {len(data.models)} chosen models ({named});"
        reasons.append(Text(f"{said} the command of the run reads them", "bad"))
    heading = f"{data.points.title}: costs for one {data.points.work_unit}"
    if data.points.cost != "macs":
        heading += f", budgets in {data.points.cost}"
    return [Section(heading, [_result_table(data, width), *remarks, Text(answer(data), "answer"), *reasons])]


def _result_table(data: ReportData, width: int) -> Table:
    rows, previous = records(data.chosen), None
    for row in rows:
        row["apart"] = previous is not None and row["method"] != previous
        if not row["apart"] and previous is not None:  # said once
            row |= {"method": "", "kind": ""}
        else:
            previous = row["method"]
        row["style"] = "bad" if row["failed"] or row["missed"] else "control" if row["control"] else ""
        left, ratio = row["effective_macs_ratio"], row["macs_ratio"]
        row["latency"] = SIMULATED if row["simulated"] else row["latency_ratio"]
        row["share"] = f"({left:.3f} ≠ 0) {ratio:.3f}" if row["unstructured"] else cell_of(ratio, written(".3f"))
        if row["simulated"]:
            row["share"] = f"(bits {row['bops_ratio']:.3f}) {ratio:.3f}"
        row["eval"] = "failed" if row["failed"] else row["eval"]
    name = metric_name(data.metric)
    fields: list[Field] = [*METHOD, ("budget", "budget", written(".4g")), ("MACs", "macs", short)]
    fields += [("of dense", "share", str), ("params", "params", short), ("size", "size_bytes", in_bytes)]
    fields += [("latency", "latency", written(".2f", "x ")), (f"dev\n{name}", "dev", written(".1f"))]
    fields.append((f"eval\n{name}", "eval", written(".1f")))
    return table_of(rows, [field for field in fields if width >= WIDE or field[0] not in ONLY_WIDE])
