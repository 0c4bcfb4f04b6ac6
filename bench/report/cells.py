"""Numbers as a person reads them, tables of them, and sections below what explains them.

What is not known is an empty string.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.plugins.task import Metric
from bench.report.document import Cell, Column, Figures, Piece, Row, Section, Span, Table, Text
from bench.stats.estimates import Estimate

if TYPE_CHECKING:
    from bench.report.data import ReportData

Form = Callable[[Any], str]
#: heading, key of the records, and how a number is written; without that it is text
Field = tuple[str, Any, Form | None]
SIMULATED = "simulated"  # stands for a latency that would say nothing
METHOD: list[Field] = [("method", "method", None), ("compressed", "kind", None)]
#: what a report explains: below headings, of the controls, and how to read it all
TEXTS = tomllib.loads((Path(__file__).parent / "texts.toml").read_text(encoding="utf-8"))


def known(value: object) -> bool:
    """Whether there is anything at all: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def short(value: float, unit: str = "") -> str:
    """Three digits and a prefix.

    >>> short(6468832), short(315267, "B"), short(12), short(999_600)
    ('6.47 M', '315 kB', '12', '1 M')
    """
    if not known(value):
        return ""
    value = float(f"{value:.3g}")
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def percent(share: float) -> str:
    """A share that somebody chose, such as a budget: no more digits than it has.

    >>> percent(0.0625), percent(0.5)
    ('6.25 %', '50 %')
    """
    return f"{100 * share:.4g} %" if known(share) else ""


def measured(share: float, digits: int = 2) -> str:
    """A share that was measured: always as many digits, so that a small overrun of a budget can be seen.

    >>> measured(0.250432), measured(0.7374, 0)
    ('25.04 %', '74 %')
    """
    return f"{100 * share:.{digits}f} %" if known(share) else ""


def reached(share: float) -> str:
    """A measured share, or ``none`` where it is infinite: nothing gets there."""
    return measured(share) if math.isfinite(share) else "none"


def score(value: float, spread: float = float("nan")) -> str:
    """A score, and its standard deviation over seeds where there is one.

    >>> score(12.345), score(12.345, 0.61), score(0.5), score(-0.001)
    ('12.3', '12.3 ± 0.6', '0.50', '0.00')
    """
    if not known(value):
        return ""
    digits = 1 if abs(value) >= 1 else 2
    return f"{value:z.{digits}f}" + (f" ± {spread:.{digits}f}" if known(spread) else "")


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(-2.17), signed(0.24)
    ('-2.2', '+0.24')
    """
    return f"{'-' if value < 0 else '+'}{score(abs(value))}" if known(value) else ""


def extra(value: float) -> str:
    """An excess in percent: two digits say enough of it.

    >>> extra(0.0214), extra(1.47), extra(126.13)
    ('0.02 %', '1.5 %', '126 %')
    """
    if not known(value):
        return ""
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2}f} %"


def estimated(estimate: Estimate, form: Form = score) -> str:
    """A number with its interval in brackets; what nothing reaches is ``none``.

    >>> estimated(Estimate(12.34, 11.2, math.inf, 3)), estimated(Estimate(math.inf, None, None, 1))
    ('12.3 [11.2, none]', 'none')
    """
    value, low, high = (
        None if end is None else form(end) if math.isfinite(end) else "none"
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return str(value) if low is None or low == high == value else f"{value} [{low}, {high}]"


def unit(metric: Metric) -> str:
    """Its unit as tables write it."""
    return "%" if metric.unit == "percent" else metric.unit


def metric_name(metric: Metric) -> str:
    """A metric with its unit, as headings write it: ``EER %``."""
    return f"{metric.title} {unit(metric)}"


def written(form: str, before: str = "") -> Form:
    """A way to write numbers, such as ``.3f``, with something before them."""
    return lambda value: before + format(value, form)


count = written(",.0f")  # a whole number with its thousands apart
whole = partial(measured, digits=0)  # a share in whole percent
tenths = partial(measured, digits=1)
in_bytes = partial(short, unit="B")


def records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows by column; what is not known is None."""
    return [{k: v if known(v) else None for k, v in row.items()} for row in table.to_dict("records")]


def table_of(rows: Sequence[dict[Any, Any]], fields: Sequence[Field]) -> Table:
    """A table of records; those with ``camp`` have their name in bold; ``style`` and ``apart`` are those of the row."""
    columns = [
        Column(head, "number" if form else "text" if position else "name", page_only=head == "files")
        for position, (head, _, form) in enumerate(fields)
    ]
    found = []
    for row in rows:
        cells = [cell_of(row[key], form) for _, key, form in fields]
        if row.get("camp"):
            cells[0] = Cell(Span(row[fields[0][1]], look="bold"))
        style = row.get("style", "control" if row.get("kind") == "control" else "")
        found.append(Row(cells, style, row.get("apart", False)))
    return Table(columns, found)


def cell_of(value: Any, form: Form | None) -> Cell:
    """A number or an estimate in its form, and what it is sorted by; texts and cells as they are."""
    if isinstance(value, Cell):
        return value
    if form is None or value is None or isinstance(value, str):
        return Cell("" if value is None else str(value))
    if isinstance(value, Estimate):
        return Cell(estimated(value, form), value.value)
    return Cell(form(value), value)


def listing(rows: Sequence[dict[Any, Any]], fields: Sequence[Field]) -> list[Piece]:
    """A table; nothing where there are no rows."""
    return [table_of(rows, fields)] if rows else []


def pictured(drawn: Mapping[str, str], name: str, layout: str) -> list[Piece]:
    """A figure; nothing where there is nothing to draw."""
    return [Figures([drawn[name]], layout)] if name in drawn else []


def explained(
    data: ReportData, anchor: str, *pieces: Piece, more: Sequence[Span | str] = (), page_only: bool = False
) -> Section:
    """Pieces below what explains them; nothing where there are none."""
    heading, text = TEXTS["sections"][anchor]["heading"], TEXTS["sections"][anchor]["text"]
    names = {"metric": data.metric.title, "metric_name": metric_name(data.metric), "work_unit": data.points.work_unit}
    names["timed_in"] = data.points.timed_in
    said = Text([text.format(**names), *more])
    return Section(heading, [said, *pieces] if pieces else [], anchor, page_only)
