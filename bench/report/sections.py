"""What a report says, section by section; the same pieces are written as a page, as Markdown and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.provenance import without_password
from bench.report import document
from bench.report.answer import CONTROLS, answer, how_drawn, limits, rules
from bench.report.cells import (
    METHOD,
    Field,
    Form,
    extra,
    in_bytes,
    known,
    measured,
    metric_name,
    percent,
    reached,
    records,
    score,
    short,
    signed,
    table_of,
    tenths,
    title,
    whole,
    written,
)
from bench.report.costs import EFFORT_NAMES, EFFORTS, LATENCIES, LEDGERS, TIMED, part_names
from bench.report.data import DRAWN, ReportData
from bench.report.document import Bullets, Cell, Column, Definitions, Details, Figures, Piece, Row, Section, Span, Text
from bench.report.quality import COSTS


def report_sections(data: ReportData, drawn: Mapping[str, str]) -> list[Section]:
    """The whole report.

    Args:
        data: what it is made from.
        drawn: SVG of the figures there are: by cost of a front, ``attainment``, ``speedup`` and ``breakdown``.
    """
    parts = (
        *(_head(data), _budgets(data), _best(data), _undiminished(data), _excess(data), _fronts(data, drawn)),
        *(_attainment(data, drawn), _points(data), _speedup(data, drawn), _training(data), _hypervolume(data)),
        *(_chance(data), *_remarks(data), _troubles(data), _breakdown(data, drawn), _published(data)),
        *(Section("How to read this", [Bullets(rules(data))], "reading"), _provenance(data)),
    )
    return [part for part in parts if part.pieces]


def _head(data: ReportData) -> Section:
    question = (
        "For the same task, the same training effort and the same compute at inference: is a network better compressed "
        "while it trains, or afterwards?"
    )
    said = [Bullets(found)] if (found := limits(data)) else []
    heading = f"{data.index['task']} · {data.index['preset']}"
    return Section(heading, [Text(question, "soft"), Text(answer(data), "answer"), *said])


def _budgets(data: ReportData) -> Section:
    sides, rows = {"in_training": 1, "post_hoc": -1}, []
    for duel in records(data.duels):
        cells: list[Cell | str] = [f"≤ {percent(duel['budget'])}"]
        for side, ahead in sides.items():
            shown = score(duel[f"{side}_score"], duel[f"{side}_std"])
            cells.append(duel[side] or Cell("none within this budget", style="soft"))
            better = ahead * (duel["gap"] or 0) > 0
            cells.append(Cell(Span(shown, look="bold" if better else ""), style=f"win {side}" if better else ""))
        rows.append(Row([*cells, signed(duel["gap"]), score(duel["uniform_score"], duel["uniform_std"])]))
    metric = Column(metric_name(data.metric))
    during, after = (
        Column("compressed while training", "name", "in_training"),
        Column("compressed afterwards", "name", "post_hoc"),
    )
    columns = [
        Column("budget"),
        during,
        metric,
        after,
        metric,
        Column("in-training better by"),
        Column("uniform width (control)"),
    ]
    text = (
        "For each budget, the best method of each camp among its models that cost at most this share of the dense "
        "model's MACs: chosen on dev, scored on eval. A model is left out if one of its seeds failed or missed its "
        "budget. The better score is bold. Controls belong to neither camp."
    )
    return Section(
        "At each budget", [Text(text), document.Table(columns, rows, sortable=False), *_if_free(data)], "budgets"
    )


def _if_free(data: ReportData) -> list[Text]:
    """The winners if zeros cost nothing, where they are others."""
    said = []
    for real, free in zip(records(data.duels), records(data.duels_if_free), strict=True):
        other = [side for side in ("in_training", "post_hoc") if free[side] not in (real[side], None)]
        named = [f"{side.replace('_', '-')} {free[side]} with {score(free[f'{side}_score'])}" for side in other]
        said += [f"at ≤ {percent(real['budget'])} {', '.join(named)}"] if named else []
    head = "If a runtime skipped weights that are zero (this one does not), other models would stand here"
    return [Text(f"{head}: {'; '.join(said)}.", "soft")] if said else []


def _best(data: ReportData) -> Section:
    rows = records(data.best)
    if not rows:
        return Section("", [])
    for row in rows:
        row["over"] = row[data.budgets[0]].over
    text = (
        f"The best mean {title(data.metric)} on eval over seeds among the points that cost at most this share of the "
        "dense MACs, chosen on dev. A point counts as worst if one of its seeds failed or missed its budget. "
        + how_drawn([row[budget] for row in rows for budget in data.budgets])
    )
    if data.items_missing:
        text += (
            f" {data.items_missing} of the chosen models have no usable scores of single items; intervals that involve "
            "them are drawn over seeds alone."
        )
    table = table_of(rows, [*METHOD, *_by_budget(data, score), ("drawn over", "over", None)])
    return Section("Best score within each budget", [Text(text), table], "best")


def _undiminished(data: ReportData) -> Section:
    rows = [{**row, "over": row["evals"].over} for row in records(data.undiminished)]
    fields: list[Field] = [
        ("seeds", "seeds", str),
        ("no worse on dev", "dev", reached),
        ("no worse on eval", "evals", measured),
    ]
    fields += [("no worse on eval, if zeros were free", "theoretical", measured), ("drawn over", "over", None)]
    text = (
        "The smallest share of the dense compute at which the mean score over seeds is no worse than that of the dense "
        "model trained for as many steps, with the same seeds; “none” where no point is as good. Brackets as above."
    )
    return _tabled("How small without loss", "undiminished", text, rows, [*METHOD, *fields])


def _excess(data: ReportData) -> Section:
    text = (
        "Theory gives the best score that any model can have at a share of the dense compute. Here is how much worse "
        "each method's chosen models are at the compute that they really cost, in percent of the best possible "
        f"{title(data.metric)} on eval: over all of them, and over those chosen for each budget. Zeros in a weight are "
        "executed, so they save nothing here."
    )
    fields = [*METHOD, ("mean", "mean", extra), ("worst model", "worst", extra), *_by_budget(data, extra)]
    return _tabled("How far from the best possible", "excess", text, records(data.excess), fields)


def _fronts(data: ReportData, drawn: Mapping[str, str]) -> Section:
    up = "Further up" if data.metric.direction == "maximize" else "Further down"
    said: list[Span | str] = [
        "Each method has one colour and marker. Solid lines: compressed while training; dashed: afterwards; grey and "
        "dotted: controls. Further left is cheaper. A cross is a point one of whose seeds failed or missed its budget: "
        f"it counts as worst. {up} is better."
    ]
    if len(data.excess):
        said.append(
            " No model can lie in the shaded part, beyond the line “best possible”, with the MACs it executes (hollow "
            "points leave some out); between the points that a line joins there is no model. Where scores are on a "
            "logarithmic axis, the same excess over the best possible is the same distance."
        )
    if data.bands and "attainment" not in drawn:
        said.append(f" In the figure of compute: {_how_banded(data)}")
    if len(data.published_drawn):
        said += [" Hollow grey points were published elsewhere, on the data named (", Span("table", "#published")]
        said.append("): they are drawn for comparison only.")
    fronts = [svg for name, svg in drawn.items() if name in data.chosen]
    shown = Figures(fronts) if fronts else Text("Nothing to draw: no chosen point has an eval score yet.")
    return _drawn("Quality against cost", "fronts", said, shown)


def _how_banded(data: ReportData) -> str:
    bands = list(data.bands.values())
    share = "the middle half of the seeds" if bands[0].shares != (0.0, 1.0) else "the best to the worst seed"
    return (
        "Steps: what half of the seeds attain at each cost (median attainment surface, at least "
        f"{min(band.n for band in bands)} seeds); band: from {share}. Both are cut at the frozen box and drawn over "
        "the chosen points."
    )


def _attainment(data: ReportData, drawn: Mapping[str, str]) -> Section:
    if "attainment" not in drawn:
        return Section("", [])
    text = f"{_how_banded(data)} The control of uniform width is grey and dotted, the dense model's level a thin line."
    return _drawn("What half of the seeds attain", "attainment", text, Figures([drawn["attainment"]], "wide"))


def _points(data: ReportData) -> Section:
    rows = records(data.chosen)
    for row in rows:
        row["style"] = "bad" if row["failed"] or row["missed"] else "control" if row["control"] else ""
        shown = score(row["eval"], row["eval_std"]) + (
            f" ({row['failed']} of {row['seeds']} failed)" if row["failed"] else ""
        )
        row["read"] = Cell(shown + (" (budget missed)" if row["missed"] else ""), row["eval"])
        row["dot"] = "●" if row["front"] else ""
        before = (row["total_steps"] or 0) - (row["train_steps"] or 0)
        own = f"{row['train_steps']:,.0f}" if known(row["train_steps"]) else ""
        row["steps"] = Cell(own + (f" + {before:,.0f}" if before > 0 else ""), row["train_steps"])
        row["files"] = Cell([span for trial in row["trials"] for span in _seed(data, trial)][1:])
    metric = metric_name(data.metric)
    fields: list[Field] = [
        *METHOD,
        ("budget", "budget", percent),
        (f"eval {metric}", "read", score),
        ("front", "dot", None),
    ]
    fields += [(f"dev {metric}", "dev", score), ("MACs share", "macs_ratio", measured)]
    fields += [
        ("non-zero share (theoretical)", "effective_macs_ratio", measured),
        ("latency share (real)", "latency_ratio", whole),
    ]
    fields += [("MACs", "macs", short), ("latency ms", "latency_ms", written(".3f")), ("params", "params", short)]
    fields += [("size", "size_bytes", in_bytes), ("training steps", "steps", str), ("CPU s", "cpu_s", written(".1f"))]
    text = (
        f"Costs are for one {data.points.work_unit}; shares are of the dense model. The theoretical and the real "
        "saving stand side by side: non-zero MACs are what would be left if zeros were skipped, latency is what the "
        "runtime takes. Training steps of a post-hoc method: its own + those of the dense model it starts from. A dot marks "
        "what no other point beats on eval at these MACs. Red: a seed failed, or the budget was missed."
    )
    table = table_of(rows, [*fields, ("files", "files", None)])
    return Section("All chosen points", [Text(text), table, *_below_points(data)], "points")


def _seed(data: ReportData, trial: Mapping[str, Any]) -> list[Span | str]:
    """Links to the files of a trial and to its run, behind a separator."""
    found, hint = data.links[trial["key"]], f"MLflow run {trial['run_id']}" if trial["run_id"] else ""
    run: list[Span | str] = [" (", Span("run", found.run), ")"] if found.run else []
    return [" · ", Span(f"seed {trial['seed']}", found.folder, hint=hint), *run]


def _below_points(data: ReportData) -> list[Piece]:
    run = "A click on a heading sorts; “run” opens the trial in MLflow while "
    checkpoints = [f"{score(value)} (seed {seed})" for seed, value in sorted(data.points.checkpoints.items())]
    dense = "No post-hoc method has started from a dense model yet."
    if checkpoints:
        head = f"The dense model that post-hoc methods start from has {title(data.metric)} on dev"
        dense = f"{head}: {', '.join(checkpoints)}."
    said = "CPU seconds are a trial's own; a post-hoc trial's share of training the dense model is not among them. "
    clicks = Text([run, Span("make ui", look="code"), " is running."], "soft", page_only=True)
    return [Text(said + dense, "soft"), clicks]


def _speedup(data: ReportData, drawn: Mapping[str, str]) -> Section:
    if data.speedup.empty:
        return Section("", [])
    times = {"executed": "MACs executed", "theoretical": "if zeros were free (theoretical)", **TIMED}
    fields: list[Field] = [METHOD[0], ("budget", "budget", percent)]
    fields += [(head, name, written(".2f", "x ")) for name, head in times.items() if name in data.speedup]
    fields.append(("realised", "realised", whole))
    for name, head in LATENCIES.items():
        fields += [(head, name, tenths if name == "latency_spread" else written(".3f"))] if name in data.speedup else []
    text = (
        "How many times cheaper than the dense model in multiply-accumulates, as executed and if zeros cost nothing, "
        "and how many times faster the exported file really runs, on one thread. “Realised” is the share of the "
        "theoretical speed-up that is real."
    )
    table = Details(f"All timed points ({len(data.speedup)})", [table_of(records(data.speedup), fields)])
    shown = Figures([drawn["speedup"]], "narrow")
    return _drawn("Theoretical against real speed-up", "speedup", text, shown, table)


def _training(data: ReportData) -> Section:
    forms = {"steps": written(",.0f"), "macs": short, "cpu_s": written(",.1f")}
    pairs = [(ledger, effort) for ledger in LEDGERS for effort in EFFORTS]
    fields: list[Field] = [(f"{LEDGERS[one]}: {EFFORT_NAMES[e]}", f"{one}_{e}", forms[e]) for one, e in pairs]
    text = (
        "Three ways to count. From scratch: a chosen point's own training and that of the dense model it started from. "
        "Given a dense model: its own alone, for those who already have a trained model. Whole tuning: all models that "
        "were trained for the method, trials and further seeds, the dense model once for each seed. Training MACs "
        "count forward and backward passes; what was not recorded is empty."
    )
    rows = records(data.training)
    return _tabled("What training cost", "training", text, rows, [*METHOD, ("models", "models", str), *fields])


def _hypervolume(data: ReportData) -> Section:
    rows = [{**row, "macs_ratio": row["interval"] or row["macs_ratio"]} for row in records(data.hypervolumes)]
    text: list[Span | str] = [
        "Hypervolume of the chosen points on eval (means over seeds), from 0 to 1; more is better. Points one of whose "
        "seeds failed or missed its budget cover nothing. Box, reference point and normalisation are frozen, see “",
        *(Span("How to read this", "#reading"), "”. Brackets as above."),
    ]
    fields = [*METHOD, *((head, cost, written(".3f")) for cost, head in COSTS.items())]
    return _tabled("How much of the trade-off each covers", "hypervolume", text, rows, fields, page_only=True)


def _chance(data: ReportData) -> Section:
    rows = records(data.chance)
    for row in rows:
        row["interval"] = f"{whole(row['low'])} to {whole(row['high'])}" if known(row["low"]) else ""
    fields: list[Field] = [
        ("first", "first", None),
        ("second", "second", None),
        ("advantage", "advantage", written("+.3f")),
    ]
    fields += [
        ("first is better with", "probability", whole),
        ("interval", "interval", None),
        ("test", "sentence", None),
    ]
    text = (
        "By the hypervolume that each seed covers with the MACs it executes. An advantage above 0 means that the first "
        "is better; a probability of 50 % means that a seed of either is as likely to be the better one."
    )
    return _tabled("More than chance?", "chance", text, rows, fields)


def _remarks(data: ReportData) -> list[Section]:
    """What controls are for, what methods say beside their results, and which do not apply."""
    controls = [(name, [why]) for name, why in CONTROLS.items() if name in data.index["methods"]]
    declined = [(name, [reason]) for name, reason in data.declined]
    text = Text("These methods declined this task or its model, which is no failure.")
    parts = [
        (controls, Section("Controls", [Definitions(controls)], "controls", page_only=True)),
        (data.points.notes, Section("Notes of the methods", [Definitions(list(data.points.notes.items()))], "notes")),
        (declined, Section("Methods that do not apply here", [text, Definitions(declined)], "declined")),
    ]
    return [section for entries, section in parts if entries]


def _troubles(data: ReportData) -> Section:
    columns = [Column("method", "text"), *map(Column, ("budget", "trial", "seed"))]
    columns += [Column("status", "text"), Column("chosen", "text"), Column("reason", "long")]
    rows = [
        Row([
            *(Cell(Span(row["method"], data.links[row["key"]].folder)), percent(row["budget"]), str(row["trial"])),
            *(str(row["seed"]), row["status"], "yes" if row["chosen"] else "no", row["reason"] or ""),
        ])
        for row in records(data.troubles)
    ]  # fmt: skip
    found = document.Table(columns, rows, sortable=False) if rows else Text("None.")
    return Section("Failed and missed points", [found], "troubles")


def _breakdown(data: ReportData, drawn: Mapping[str, str]) -> Section:
    if "breakdown" not in drawn:
        return Section("", [])
    text = (
        f"{metric_name(data.metric)} on eval of every chosen point, part by part (means over seeds). A method that is "
        "good on the whole may fail on one part. Darker is worse. Parts rest on fewer examples than the whole, so they "
        "scatter more."
    )
    return _drawn("Parts of the score", "breakdown", text, Figures([drawn["breakdown"]], "parts"))


def _published(data: ReportData) -> Section:
    table, shown = data.published, len(data.published_drawn) > 0
    if table.empty:
        return Section("", [])
    fields: list[Field] = [("model", "model", None), ("method", "method", None), ("setting", "setting", None)]
    fields += [(metric_name(data.metric), "score", written(".2f")), ("compute share", "share", measured)]
    fields += [("MFLOP for 1 s of audio", "mflops_per_second", written(",.4g")), ("params", "params", short)]
    fields += [(part, part, written(".2f")) for part in part_names(table)]
    text = (
        "Others have published these scores for networks of the same kind, trained in their own way on the data named. "
        "They are no part of any verdict, front or hypervolume of this report. Shares are of the published dense "
        "model's compute; where there is none, it was not reported."
    )
    rows = table_of(records(table), [*fields, ("data", "data", None), ("source", "source", None)])
    origins = "; ".join(", ".join(dict.fromkeys(table[name])) for name in ("data", "source"))
    details = Details(f"{len(table)} published scores: {origins}", [rows], unfolded=data.index["preset"] in DRAWN)
    return Section("Published elsewhere", [Text(text), details], "published", page_only=not shown)


def _provenance(data: ReportData) -> Section:
    origin, setting = dict(data.index["provenance"]), dict(data.index["setting"])
    packages, fields, plan = origin.pop("packages", {}), setting.pop("fields", {}), setting.pop("plan", {})
    digest = setting.pop("data", "") or "none"
    asked = {"budgets": ", ".join(map(percent, data.budgets)), "seeds": data.index["seeds"]}
    groups: dict[str, dict[str, Any]] = {
        "comparison": {**origin, "points": data.index["identity"]},
        "task and data": {"digest of the data": digest, **fields},
        "plan": {**plan, **asked},
        "code": {**{f"setting: {name}": value for name, value in setting.items()}, **packages},
    }
    pieces: list[Piece] = [
        Definitions([(key, [without_password(str(value))]) for key, value in group.items()], name)
        for name, group in groups.items()
    ]
    return Section("Where the numbers come from", [*pieces, _trials(data)], "provenance", page_only=True)


def _trials(data: ReportData) -> Details:
    """Every trained model, or the first of very many."""
    rows, count, every = records(data.trials), len(data.trials), len(data.points.table)
    for row in rows:
        found = data.links[row["key"]]
        files = [part for name, address in found.files for part in (" · ", Span(name, address))]
        row["files"] = Cell([Span(row["key"], found.folder), *files])
        row["is_chosen"] = "yes" if row["chosen"] else "no"
        row["settings"] = Cell(Span(row["settings"], look="code"))
        row["run"] = Cell(Span(row["run_id"] or "", found.run or "", look="code"))
    metric = metric_name(data.metric)
    fields: list[Field] = [METHOD[0], ("budget", "budget", percent), ("trial", "trial", str), ("seed", "seed", str)]
    fields += [("status", "status", None), ("chosen", "is_chosen", None), ("MACs share", "macs_ratio", measured)]
    fields += [(f"dev {metric}", data.points.dev_column, score), (f"eval {metric}", data.points.eval_column, score)]
    fields += [("settings", "settings", None), ("files", "files", None), ("MLflow run", "run", None)]
    said = [Text(["All are in ", Span("points.csv", "points.csv"), "."])] if every > count else []
    which = f"{count:,} of {every:,} trained models: those that were chosen, then the best on dev"
    which = which if every > count else f"Every trained model ({every})"
    return Details(f"{which}, with its files and its MLflow run", [*said, table_of(rows, fields)])


def _by_budget(data: ReportData, form: Form) -> list[Field]:
    return [(f"≤ {percent(budget)}", budget, form) for budget in data.budgets]


def _tabled(
    heading: str,
    anchor: str,
    text: document.Words,
    rows: Sequence[dict[Any, Any]],
    fields: Sequence[Field],
    *,
    page_only: bool = False,
) -> Section:
    """A table below a paragraph; nothing where there are no rows."""
    return Section(heading, [Text(text), table_of(rows, fields)] if rows else [], anchor, page_only)


def _drawn(heading: str, anchor: str, text: document.Words, *pieces: Piece) -> Section:
    """Figures below a paragraph, which Markdown has none of."""
    return Section(heading, [Text(text), *pieces], anchor, page_only=True)
