"""report.md: the answer and the tables, for pasting into an issue or a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.report import reading
from bench.report.answer import answer, budget_duels
from bench.report.best import how_drawn
from bench.report.chosen import chosen_points, stage_name
from bench.report.excess import excess_table
from bench.report.findings import Findings
from bench.report.numbers import estimated, extra, known, measured, number, percent, reached, score, short, title, unit
from bench.report.published import drawn_points
from bench.report.training import EFFORT_NAMES, EFFORTS, LEDGERS, training_table
from bench.results.points import Points


def render_markdown(points: Points, findings: Findings) -> str:
    """The answer, what limits it, the budget table, all chosen points, failed and missed ones."""
    index = points.index
    metric = f"{title(points.metric)} {unit(points.metric)}"
    parts = [
        f"# {_text(index['task'])}, {_text(index['preset'])}: compressed while training, or afterwards?",
        f"**{_text(answer(points))}**",
        "\n".join(f"- {_text(limit)}" for limit in reading.limits(points)),
        f"## Best of each camp at each budget ({metric} on eval, chosen on dev)",
        _duel_table(points),
        *_best(points, findings),
        *_undiminished(findings),
        *_chance(findings),
        *_excess(points),
        f"## All chosen points (costs for one {_text(points.work_unit)}, shares of the dense model)",
        _chosen_table(points, metric),
        *_training(points),
        *_list_of("Notes of the methods", [(name, " ".join(said)) for name, said in reading.notes(points)]),
        *_list_of("Methods that do not apply here (no failure)", reading.declined(points)),
        "## Failed and missed points",
        _troubles(points),
        *_published(points, metric),
        "## How to read this",
        "\n".join(f"- {_text(rule)}" for rule in reading.rules(points)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _duel_table(points: Points) -> str:
    head = ["budget", "in-training", "", "post-hoc", "", "uniform width (control)"]
    rows = []
    for row in budget_duels(points).to_dict("records"):
        cells = [f"≤ {percent(row['budget'])}"]
        for camp in ("in_training", "post_hoc"):
            found = known(row[camp])
            cells += [str(row[camp]), score(row[f"{camp}_score"], row[f"{camp}_std"])] if found else ["none", ""]
        rows.append([*cells, score(row["uniform_score"]) or "none"])
    return _table(head, "rlrlrr", rows)


def _chosen_table(points: Points, metric: str) -> str:
    head = ["method", "compressed", "budget", "MACs", "MACs share", "non-zero share (theoretical)"]
    head += ["latency share (real)", "params", "size", "steps", "CPU s", f"dev {metric}", f"eval {metric}"]
    rows = [
        [
            *(str(row["method"]), stage_name(row), percent(row["budget"]), short(row["macs"])),
            *(measured(row["macs_ratio"]), measured(row["effective_macs_ratio"]), measured(row["latency_ratio"], 0)),
            *(short(row["params"]), short(row["size_bytes"], "B"), number(row["total_steps"], "{:,.0f}")),
            *(number(row["cpu_s"], "{:.1f}"), score(row[points.dev_column])),
            "failed" if row["failed"] else score(row[points.eval_column], row[f"{points.eval_column}_std"]),
        ]
        for row in chosen_points(points).to_dict("records")
    ]
    return _table(head, "ll" + "r" * (len(head) - 2), rows)


def _best(points: Points, findings: Findings) -> list[str]:
    """What every camp and method reaches within each budget."""
    found = findings.best
    head = ["method", "compressed", *(f"≤ {percent(budget)}" for budget in points.index["budgets"]), "drawn over"]
    rows = [[row.name, row.stage, *map(estimated, row.estimates), row.estimates[0].over] for row in found]
    said = how_drawn([estimate for row in found for estimate in row.estimates]) if found else ""
    table = _table(head, "ll" + "r" * (len(head) - 3) + "l", rows)
    return [f"## Best {title(points.metric)} on eval within each budget", said, table] if rows else []


def _undiminished(findings: Findings) -> list[str]:
    """How small each method gets without loss."""
    head = ["method", "compressed", "seeds", "no worse on dev", "no worse on eval", "the latter if zeros were free"]
    rows = [
        [
            *(row.method, row.stage, str(row.evals.n), reached(row.dev)),
            *(estimated(estimate, measured) for estimate in (row.evals, row.theoretical)),
        ]
        for row in findings.undiminished
    ]
    heading = "## Smallest compute at which the score is no worse than the dense model's (means over seeds)"
    return [heading, _table(head, "llrrrr", rows)] if rows else []


def _training(points: Points) -> list[str]:
    """What training cost, in three ledgers."""
    forms = {"steps": "{:,.0f}".format, "macs": short, "cpu_s": "{:,.1f}".format}
    head = [
        "method",
        "compressed",
        "models",
        *(f"{LEDGERS[one]}: {EFFORT_NAMES[e]}" for one in LEDGERS for e in EFFORTS),
    ]
    rows = []
    for row in training_table(points).to_dict("records"):
        costs = [(row[f"{ledger}_{effort}"], forms[effort]) for ledger in LEDGERS for effort in EFFORTS]
        shown = [form(value) if known(value) else "" for value, form in costs]
        rows.append([row["method"], row["stage"], str(row["models"]), *shown])
    return ["## What training cost", _table(head, "ll" + "r" * (len(head) - 2), rows)] if rows else []


def _chance(findings: Findings) -> list[str]:
    """Camps and methods against each other, seed by seed."""
    head = ["first", "second", "advantage", "first is better with", "interval", "test"]
    rows = [
        [
            *(row["first"], row["second"], number(row["advantage"], "{:+.3f}"), measured(row["probability"], 0)),
            f"{measured(row['low'], 0)} to {measured(row['high'], 0)}" if known(row["low"]) else "",
            row["sentence"],
        ]
        for row in findings.chance.to_dict("records")
    ]
    return ["## More than chance? (hypervolume by seed)", _table(head, "llrrll", rows)] if rows else []


def _excess(points: Points) -> list[str]:
    """How far each method is from the best possible, where that is known."""
    table, budgets = excess_table(points), points.index["budgets"]
    if table.empty:
        return []
    head = ["method", "compressed", "mean", "worst model", *(f"≤ {percent(budget)}" for budget in budgets)]
    rows = [
        [row["method"], row["stage"], *(extra(row[name]) for name in ("mean", "worst", *budgets))]
        for row in table.to_dict("records")
    ]
    heading = "## How much worse than the best possible at the same compute (eval; in percent of the best possible)"
    return [heading, _table(head, "ll" + "r" * (len(head) - 2), rows)]


def _published(points: Points, metric: str) -> list[str]:
    """What others have published, where the figure shows it too."""
    table = drawn_points(points)
    if table.empty:
        return []
    head = ["model", "method", "setting", metric, "compute share", "data", "source"]
    rows = [
        [
            *(row["model"], row["method"], row["setting"], f"{row['score']:.2f}", measured(row["share"])),
            *(row["data"], row["source"]),
        ]
        for row in table.to_dict("records")
    ]
    heading = "## Published elsewhere, on the data named (no part of the verdict; shares of the published dense model)"
    return [heading, _table(head, "lllrrll", rows)]


def _list_of(heading: str, entries: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"- {_text(name)}: {_text(text)}" for name, text in entries]
    return [f"## {heading}", "\n".join(lines)] if lines else []


def _troubles(points: Points) -> str:
    lines = []
    for row in reading.troubles(points).to_dict("records"):
        which = f"{_text(row['method'])} {percent(row['budget'])}, trial {row['trial']}, seed {row['seed']}"
        lines.append(f"- {row['status']}: {which}: {_text(row['reason'])}")
    return "\n".join(lines) or "None."


def _table(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---:" if side == "r" else "---" for side in align]]
    lines += [[_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    """Text that Markdown takes as it is, in a table too."""
    text = " ".join(str(value).split())
    for mark, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), *((c, f"\\{c}") for c in "|*`[]")):
        text = text.replace(mark, escaped)
    return text
