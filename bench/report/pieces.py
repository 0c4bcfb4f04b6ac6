"""What sections are put together from: tables and figures, below the text that explains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.answer import TEXTS
from bench.report.cells import Field, metric_name, table_of, title
from bench.report.data import ReportData
from bench.report.document import Figures, Piece, Section, Span, Text


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
    names = {"metric": title(data.metric), "metric_name": metric_name(data.metric), "work_unit": data.points.work_unit}
    said = Text([text.format(**names), *more])
    return Section(heading, [said, *pieces] if pieces else [], anchor, page_only)
