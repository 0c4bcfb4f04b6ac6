"""What a report says, section by section; the same pieces are written as a page, as Markdown and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.answer import answer, how_drawn, limits, rules
from bench.report.cells import (
    METHOD,
    SIMULATED,
    TEXTS,
    Field,
    count,
    explained,
    extra,
    in_bytes,
    known,
    listing,
    measured,
    metric_name,
    percent,
    pictured,
    reached,
    records,
    score,
    short,
    signed,
    whole,
    written,
)
from bench.report.cost_sections import cost_sections
from bench.report.costs import part_names
from bench.report.data import DRAWN, ReportData
from bench.report.document import (
    Bullets,
    Cell,
    Column,
    Definitions,
    Details,
    Figures,
    Piece,
    Row,
    Section,
    Span,
    Table,
    Text,
)
from bench.report.findings import verdict_sections
from bench.report.quality import COSTS
from bench.results.selection import COST
from bench.storage.provenance import without_password
from bench.widths import IN_WORDS

Spans = list[Span | str]


def report_sections(data: ReportData, drawn: Mapping[str, str]) -> list[Section]:
    """The whole report.

    Args:
        data: what it is made from.
        drawn: SVG of the figures there are: by cost of a front, ``attainment``, ``speedup`` and ``breakdown``.
    """
    breakdown = explained(data, "breakdown", *pictured(drawn, "breakdown", "parts"), page_only=True)
    parts = [_head(data), *verdict_sections(data, drawn), _budgets(data), *_scores(data), *_fronts(data, drawn)]
    parts += [_points(data), *cost_sections(data, drawn)]
    parts += [*_covered(data), *_remarks(data), _troubles(data), breakdown, _published(data)]
    parts += [Section("How to read this", [Bullets(rules(data))], "reading"), _provenance(data)]
    return [part for part in parts if part.pieces]


def _head(data: ReportData) -> Section:
    said = [Bullets(found)] if (found := limits(data)) else []
    heading = data.points.title
    question = TEXTS["head"]["question"].format(cost=IN_WORDS[data.points.cost])
    return Section(heading, [Text(question, "soft"), Text(answer(data), "answer"), *said])


def _budgets(data: ReportData) -> Section:
    sides, rows = {"in_training": 1, "post_hoc": -1}, []
    for duel in records(data.duels):
        row: list[Cell | str] = [f"≤ {percent(duel['budget'])}"]
        for side, ahead in sides.items():
            shown, better = score(duel[f"{side}_score"], duel[f"{side}_std"]), ahead * (duel["gap"] or 0) > 0
            row.append(duel[side] or Cell("none within this budget", style="soft"))
            row.append(Cell(Span(shown, look="bold"), style=f"win {side}") if better else shown)
        rows.append(Row([*row, signed(duel["gap"]), score(duel["uniform_score"], duel["uniform_std"])]))
    metric, columns = Column(metric_name(data.metric)), [Column("budget")]
    columns += [Column("compressed while training", "name", "in_training"), metric]
    columns += [Column("compressed afterwards", "name", "post_hoc"), metric]
    columns += [Column("best in-training better by"), Column("uniform width (control)")]
    return explained(data, "budgets", Table(columns, rows, sortable=False), *_if_free(data))


def _if_free(data: ReportData) -> list[Text]:
    """The winners if zeros cost nothing, where they are others."""
    said = []
    for real, free in zip(records(data.duels), records(data.duels_if_free), strict=True):
        other = [side for side in ("in_training", "post_hoc") if free[side] not in (real[side], None)]
        named = [f"{side.replace('_', '-')} {free[side]} with {score(free[f'{side}_score'])}" for side in other]
        said += [f"at ≤ {percent(real['budget'])} {', '.join(named)}"] if named else []
    head = "If a runtime skipped weights that are zero (this one does not), other models would stand here"
    return [Text(f"{head}: {'; '.join(said)}.", "soft")] if said else []


def _scores(data: ReportData) -> list[Section]:
    """The best within each budget, how small without loss, and how far from the best possible."""
    best, undiminished = records(data.best), records(data.undiminished)
    budgets = [(f"≤ {percent(budget)}", budget) for budget in data.budgets]
    more: Spans = [how_drawn([row[budget] for row in best for budget in data.budgets])] if best else []
    if data.items_missing:
        more.append(
            f" {data.items_missing} of the chosen models have no usable scores of single items; intervals that involve "
            "them are drawn over seeds alone."
        )
    for row in best:
        row["over"] = row[data.budgets[0]].over
    for row in undiminished:
        row["over"] = row["evals"].over
    scores: list[Field] = [*METHOD, *((*budget, score) for budget in budgets), ("drawn over", "over", None)]
    smallest: list[Field] = [*METHOD, ("seeds", "seeds", str), ("no worse on dev", "dev", reached)]
    smallest += [("no worse on eval", "evals", measured)]
    smallest += [("no worse on eval, if zeros were free", "theoretical", measured), ("drawn over", "over", None)]
    excess: list[Field] = [*METHOD, ("mean", "mean", extra), ("worst model", "worst", extra)]
    excess += [(*budget, extra) for budget in budgets]
    return [
        explained(data, "best", *listing(best, scores), more=more),
        explained(data, "undiminished", *listing(undiminished, smallest)),
        explained(data, "excess", *listing(records(data.excess), excess)),
    ]


def _fronts(data: ReportData, drawn: Mapping[str, str]) -> list[Section]:
    """The fronts, and the panels of the methods' bands."""
    said: Spans = ["Further up is better. " if data.metric.direction == "maximize" else "Further down is better. "]
    if len(data.excess):
        said.append(TEXTS["fronts"]["theory"])
    banded = ""
    if bands := list(data.bands.values()):
        share = "the middle half of the seeds" if bands[0].shares != (0.0, 1.0) else "the best to the worst seed"
        banded = (
            "Steps: what half of the seeds attain at each cost (median attainment surface, at least "
            f"{min(band.n for band in bands)} seeds); band: from {share}. Both are cut at the frozen box and drawn "
            "over the chosen points."
        )
        said.append(f"Steps in the first figure: all methods of a camp together; band: from {share}. ")
    if len(data.published_drawn):
        said += ["Hollow grey points were published elsewhere, on the data named (", Span("table", "#published")]
        said.append("): they are drawn for comparison only.")
    fronts = [svg for name, svg in drawn.items() if name in data.chosen]
    nothing = Text("Nothing to draw: no chosen point has an eval score yet.")
    return [
        explained(data, "fronts", Figures(fronts) if fronts else nothing, more=said, page_only=True),
        explained(data, "attainment", *pictured(drawn, "attainment", "wide"), more=[banded], page_only=True),
    ]


def _points(data: ReportData) -> Section:
    rows = records(data.chosen)
    for row in rows:
        row["style"] = "bad" if row["failed"] or row["missed"] else "control" if row["control"] else ""
        failed = f" ({row['failed']} of {row['seeds']} failed)" if row["failed"] else ""
        missed = " (budget missed)" if row["missed"] else ""
        row["latency"] = SIMULATED if row["simulated"] else row["latency_ratio"]
        row["read"] = Cell(score(row["eval"], row["eval_std"]) + failed + missed, row["eval"])
        row["dot"] = "●" if row["front"] else ""
        before = (row["total_steps"] or 0) - (row["train_steps"] or 0)
        own = count(row["train_steps"]) if known(row["train_steps"]) else ""
        row["steps"] = Cell(own + (f" + {count(before)}" if before > 0 else ""), row["train_steps"])
        row["files"] = Cell([span for trial in row["trials"] for span in _seed(data, trial)][1:])
    metric = metric_name(data.metric)
    fields = [*METHOD, ("budget", "budget", percent), (f"eval {metric}", "read", score), ("front", "dot", None)]
    fields += [(f"dev {metric}", "dev", score), ("MACs share", "macs_ratio", measured)]
    if data.points.cost != "macs":
        fields.append((f"{IN_WORDS[data.points.cost]} share, as audited", COST, measured))
    fields += [("non-zero share (theoretical)", "effective_macs_ratio", measured)]
    fields += [("bit operations share (theoretical)", "bops_ratio", measured)]
    fields += [("latency share (real)", "latency", whole), ("MACs", "macs", short)]
    fields += [("latency ms", "latency_ms", written(".3f")), ("params", "params", short)]
    fields += [("size", "size_bytes", in_bytes), ("peak memory of activations", "memory_bytes", in_bytes)]
    fields += [("training steps", "steps", str), ("CPU s", "cpu_s", written(".1f"))]
    table = listing(rows, [*fields, ("files", "files", None)])
    return explained(data, "points", *(table or [Text("None.")]), *_below_points(data))


def _seed(data: ReportData, trial: Mapping[str, Any]) -> Spans:
    """Links to the files of a trial and to its run, behind a separator."""
    found, hint = data.links[trial["key"]], f"MLflow run {trial['run_id']}" if trial["run_id"] else ""
    run: Spans = [" (", Span("run", found.run), ")"] if found.run else []
    return [" · ", Span(f"seed {trial['seed']}", found.folder, hint=hint), *run]


def _below_points(data: ReportData) -> list[Piece]:
    each = [f"{score(dev)} after {percent(share)} of the steps" for share, dev in data.dense_starts.items()]
    dense = "No post-hoc method has started from a dense model yet."
    if each:
        head = f"The dense models that post-hoc methods start from have {data.metric.title} on dev"
        dense = f"{head} (means over seeds): {', '.join(each)}."
    said = "CPU seconds are a trial's own; a post-hoc trial's share of training the dense model is not among them. "
    clicks: Spans = ["A click on a heading sorts; “run” opens the trial in MLflow while "]
    clicks += [Span("make ui", look="code"), " is running."]
    return [Text(said + dense, "soft"), Text(clicks, "soft", page_only=True)]


def _covered(data: ReportData) -> list[Section]:
    """How much of the trade-off each covers, and whether that is more than chance."""
    covered, chances = records(data.hypervolumes), records(data.chance)
    for row in covered:
        row[COST] = row["interval"] or row[COST]
    for row in chances:
        row["interval"] = f"{whole(row['low'])} to {whole(row['high'])}" if known(row["low"]) else ""
    heads = COSTS if data.points.cost == "macs" else {COST: IN_WORDS[data.points.cost]}
    volumes: list[Field] = [*METHOD, *((head, cost, written(".3f")) for cost, head in heads.items())]
    more: Spans = [Span("How to read this", "#reading"), "”. Brackets as above."]
    duel: list[Field] = [("first", "first", None), ("second", "second", None)]
    duel += [("advantage", "advantage", written("+.3f")), ("first is better with", "probability", whole)]
    duel += [("interval", "interval", None), ("test", "sentence", None)]
    return [
        explained(data, "hypervolume", *listing(covered, volumes), more=more, page_only=True),
        explained(data, "chance", *listing(chances, duel)),
    ]


def _remarks(data: ReportData) -> list[Section]:
    """What controls are for, what methods say beside their results, and which do not apply."""
    controls = [(name, [why]) for name, why in TEXTS["controls"].items() if name in data.index["methods"]]
    notes, declined = list(data.points.notes.items()), [(name, [reason]) for name, reason in data.declined]
    return [
        Section("Controls", [Definitions(controls)] if controls else [], "controls", page_only=True),
        Section("Notes of the methods", [Definitions(notes)] if notes else [], "notes"),
        explained(data, "declined", *([Definitions(declined)] if declined else [])),
    ]


def _troubles(data: ReportData) -> Section:
    rows = []
    for row in records(data.troubles):
        link = Cell(Span(row["method"], data.links[row["key"]].folder))
        numbers = percent(row["budget"]), str(row["trial"]), str(row["seed"])
        rows.append(Row([link, *numbers, row["status"], "yes" if row["chosen"] else "no", row["reason"] or ""]))
    columns = [Column("method", "text"), *map(Column, ("budget", "trial", "seed"))]
    columns += [Column("status", "text"), Column("chosen", "text"), Column("reason", "long")]
    found = Table(columns, rows, sortable=False) if rows else Text("None.")
    return Section("Failed and missed points", [found], "troubles")


def _published(data: ReportData) -> Section:
    table, drawn = data.published, data.index["preset"] in DRAWN
    if table.empty:
        return Section("", [])
    fields: list[Field] = [("model", "model", None), ("method", "method", None), ("setting", "setting", None)]
    fields += [(metric_name(data.metric), "score", written(".2f")), ("compute share", "share", measured)]
    fields += [("MFLOP for 1 s of audio", "mflops_per_second", written(",.4g")), ("params", "params", short)]
    fields += [(part, part, written(".2f")) for part in part_names(table)]
    rows = listing(records(table), [*fields, ("data", "data", None), ("source", "source", None)])
    origins = "; ".join(", ".join(dict.fromkeys(table[name])) for name in ("data", "source"))
    details = Details(f"{len(table)} published scores: {origins}", rows, unfolded=drawn)
    return explained(data, "published", details, page_only=not drawn)


def _provenance(data: ReportData) -> Section:
    origin, setting = dict(data.index["provenance"]), dict(data.index["setting"])
    packages, fields, plan = origin.pop("packages", {}), setting.pop("fields", {}), setting.pop("plan", {})
    digest = setting.pop("data", "") or "none"
    asked: dict[str, Any] = {name: data.index[name] for name in ("trials", "seeds") if name in data.index}
    groups: dict[str, dict[str, Any]] = {
        "comparison": {**origin, "points": data.index["identity"]},
        "task and data": {"digest of the data": digest, **fields},
        "plan": {**plan, "budgets": ", ".join(map(percent, data.budgets)), **asked},
        "code": {**{f"setting: {name}": value for name, value in setting.items()}, **packages},
    }
    pieces: list[Piece] = [
        Definitions([(key, [without_password(str(value))]) for key, value in group.items()], name)
        for name, group in groups.items()
    ]
    return Section("Where the numbers come from", [*pieces, _trials(data)], "provenance", page_only=True)


def _trials(data: ReportData) -> Details:
    """Every trained model, or the first of very many."""
    rows, listed, every = records(data.trials), len(data.trials), len(data.points.trained)
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
    said = [Text(["All are in ", Span("points.csv", "points.csv"), "."])] if every > listed else []
    which = f"{count(listed)} of {count(every)} trained models: those that were chosen, then the best on dev"
    which = which if every > listed else f"Every trained model ({every})"
    return Details(f"{which}, with its files and its MLflow run", [*said, *listing(rows, fields)])
