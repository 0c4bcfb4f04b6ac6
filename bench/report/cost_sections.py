"""What a report says of costs: on every axis, as time, as predicted, and for training."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bench.report.cells import (
    METHOD,
    SIMULATED,
    Field,
    Form,
    count,
    explained,
    listing,
    measured,
    metric_name,
    percent,
    pictured,
    records,
    score,
    short,
    tenths,
    whole,
    written,
)
from bench.report.costs import EFFORTS, LATENCIES, LEDGERS, TIMED
from bench.report.data import ReportData
from bench.report.document import Details, Section
from bench.widths import IN_WORDS

#: shares of the dense model, by what budgets may be shares of
AXES = {"macs": "macs_ratio", "bytes": "size_ratio", "memory": "memory_ratio", "latency": "latency_ratio"}


def cost_sections(data: ReportData, drawn: Mapping[str, str]) -> list[Section]:
    """Costs at inference, then of training.

    Args:
        data: what it is made from.
        drawn: SVG of the figures there are.
    """
    layers = explained(data, "layers", *pictured(drawn, "layers", "parts"), page_only=True)
    return [_axes(data), _speedup(data, drawn), layers, _prediction(data, drawn), _training(data)]


def _axes(data: ReportData) -> Section:
    """What a budget of one cost came to in the others."""
    rows = records(data.chosen[data.chosen["budget"].notna() & data.chosen["valid"]])
    for row in rows:
        row["latency_ratio"] = SIMULATED if row["simulated"] else row["latency_ratio"]
    asked = data.points.cost
    fields: list[Field] = [*METHOD, (f"budget of {IN_WORDS[asked]}", "budget", percent)]
    fields += [(IN_WORDS[axis] + " (asked)" * (axis == asked), column, measured) for axis, column in AXES.items()]
    fields.append((f"eval {metric_name(data.metric)}", "eval", score))
    return explained(data, "axes", *listing(rows, fields))


def _speedup(data: ReportData, drawn: Mapping[str, str]) -> Section:
    times = {"executed": "MACs executed", "theoretical": "if zeros were free (theoretical)", **TIMED}
    forms = {name: written(".2g" if name.endswith("real_time") else ".3f") for name in LATENCIES}
    forms |= {"latency_spread": tenths}
    fields: list[Field] = [METHOD[0], ("budget", "budget", percent)]
    fields += [(head, name, written(".2f", "x ")) for name, head in times.items() if name in data.speedup]
    fields.append(("realised", "realised", whole))
    fields += [(head, name, forms[name]) for name, head in LATENCIES.items() if name in data.speedup]
    figure, table = pictured(drawn, "speedup", "narrow"), listing(records(data.speedup), fields)
    details = [Details(f"All timed points ({len(data.speedup)})", table)] if table else []
    return explained(data, "speedup", *figure, *details, page_only=True)


def _prediction(data: ReportData, drawn: Mapping[str, str]) -> Section:
    rows = []
    for made, pairs in data.index.get("predicted", {}).items():
        errors = sorted(abs(predicted / measured - 1) for predicted, measured in pairs)
        if errors:
            ninth = errors[int(0.9 * (len(errors) - 1))]
            rows.append({"made": made, "models": len(errors), "median": median(errors), "most": ninth})
    fields: list[Field] = [("files", "made", None), ("models", "models", str), ("off by, median", "median", tenths)]
    fields.append(("nine of ten within", "most", tenths))
    figure = pictured(drawn, "prediction", "narrow")
    return explained(data, "prediction", *figure, *listing(rows, fields), page_only=True)


def _training(data: ReportData) -> Section:
    forms: dict[str, Form] = {"steps": count, "macs": short, "cpu_s": written(",.1f")}
    fields: list[Field] = [*METHOD, ("models", "models", str)]
    for ledger, whom in LEDGERS.items():
        fields += [(f"{whom}: {name}", f"{ledger}_{effort}", forms[effort]) for effort, (name, *_) in EFFORTS.items()]
    return explained(data, "training", *listing(records(data.training), fields))
