"""The sections that answer the question: the verdicts, what the gap is due to, and what a trained model is good for."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.answer import draws
from bench.report.attribution import GAINED, PARTS
from bench.report.cells import (
    METHOD,
    Field,
    count,
    estimated,
    explained,
    known,
    listing,
    metric_name,
    percent,
    pictured,
    records,
    score,
    signed,
)
from bench.report.data import ReportData
from bench.report.document import Cell, Column, Row, Section, Table, Text
from bench.report.quality import CAMPS
from bench.report.verdict import MARGIN


def verdict_sections(data: ReportData, drawn: Mapping[str, str]) -> list[Section]:
    """Which camp is better, what that is due to, and the second question."""
    return [_verdicts(data), _attribution(data, drawn), _handed(data)]


def _verdicts(data: ReportData) -> Section:
    """What the seeds say of the camps, and of each camp against the dense model."""
    found, rows = data.verdicts, []
    for verdict in [*found.budgets, *([found.overall] if found.overall and len(found.budgets) > 1 else [])]:
        at = "all, on average" if verdict.budget is None else f"≤ {percent(verdict.budget)}"
        style = f"win {verdict.winner.replace('-', '_')}" if verdict.winner else ""
        p = "" if verdict.p is None else f"{verdict.p:.2g}"
        enough = str(verdict.seeds_to_decide or "out of sight")
        seeds = "" if verdict.p is None or verdict.winner else enough
        row: list[Cell | str] = [at, Cell(verdict.said, style=style), estimated(verdict.gap, signed), p, seeds]
        rows.append(Row([*row, *(_against_dense(data, kind, verdict.budget) for kind in CAMPS)]))
    mean = ", mean over draws" if len({*data.verdicts.contenders.values()}) > 1 else ""
    columns = [Column("budget"), Column("verdict", "text"), Column(f"in-training better by{mean}"), Column("p")]
    columns += [Column("seeds to decide")]
    columns += [Column(f"{kind} against dense", "text", kind.replace("-", "_")) for kind in CAMPS]
    table = [Table(columns, rows, sortable=False)] if rows else []
    return explained(data, "verdicts", *table, more=[draws(data)])


def _against_dense(data: ReportData, kind: str, budget: float | None) -> str:
    """Whether the best of a camp is worse than dense by more than the margin, in words."""
    if budget is None or (worse := data.verdicts.dense.get((kind, budget))) is None:
        return ""
    if worse.low is None or worse.high is None or worse.low <= MARGIN < worse.high:
        said = "undecided"
    else:
        said = "worse" if worse.low > MARGIN else "no worse"
    return f"{said}: {estimated(worse, signed)}"


def _attribution(data: ReportData, drawn: Mapping[str, str]) -> Section:
    """What the gap is due to, or which controls would have to run."""
    rows, said = [], []
    for row in records(data.attribution):
        at = f"≤ {percent(row['budget'])}" if known(row["budget"]) else "all, on average"
        if row["missing"]:
            said.append(Text(f"At {at} the gap cannot be split without {row['missing']}.", "soft"))
            continue
        names = [row[side] or "" for side in ("in_training", "post_hoc")]
        rows.append(Row([at, *names, *(estimated(row[part], signed) for part in ("gap", *PARTS, GAINED))]))
    columns = [Column("budget"), Column("best in-training", "name"), Column("best post-hoc", "name")]
    columns += [Column(name) for name in ("gap", *PARTS.values(), "in-training against random channels")]
    table = [Table(columns, rows, sortable=False)] if rows else []
    return explained(data, "attribution", *table, *pictured(drawn, "attribution", "narrow"), *said)


def _handed(data: ReportData) -> Section:
    """What somebody gets who is handed a trained model, by the steps after it."""
    rows = records(data.handed)
    for row in rows:
        row["worse"] = Cell(estimated(row["worse"], signed), row["worse"].value) if row["worse"] else ""
    metric = metric_name(data.metric)
    fields: list[Field] = [("budget", "budget", percent), ("steps after it", "steps", count), *METHOD]
    fields += [("checkpoint trained for", "trained", percent), (f"checkpoint dev {metric}", "start", score)]
    fields += [(f"dev {metric}", "dev", score), (f"eval {metric}", "eval", score)]
    return explained(data, "handed", *listing(rows, [*fields, ("worse than dense by", "worse", None)]))
