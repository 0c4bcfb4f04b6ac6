"""report.md: the answer and the tables, for pasting into an issue or a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.points import Points
from bench.report import reading
from bench.report.answer import answer, budget_duels
from bench.report.chosen import chosen_points, stage_name
from bench.report.numbers import known, measured, number, percent, score, short, title, unit


def render_markdown(points: Points) -> str:
    """The answer, what limits it, the budget table, all chosen points, failed and missed ones."""
    index = points.index
    metric = f"{title(points.metric)} {unit(points.metric)}"
    parts = [
        f"# {_text(index['task'])}, {_text(index['preset'])}: compressed while training, or afterwards?",
        f"**{_text(answer(points))}**",
        "\n".join(f"- {_text(limit)}" for limit in reading.limits(points)),
        f"## Best of each camp at each budget ({metric} on eval, chosen on dev)",
        _duel_table(points),
        f"## All chosen points (costs for one {_text(points.work_unit)}, shares of the dense model)",
        _chosen_table(points, metric),
        "## Failed and missed points",
        _troubles(points),
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
