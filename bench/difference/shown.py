"""Headings, lines and tables, in a terminal or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Line:
    """A sentence.

    Attributes:
        text: plain text.
        style: how a terminal shows it.
    """

    text: str
    style: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        head: names of the columns.
        align: ``l`` or ``r`` for each.
        rows: cells as plain text.
        styles: how a terminal shows each row.
    """

    head: Sequence[str]
    align: str
    rows: Sequence[Sequence[str]]
    styles: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it, in this order."""

    heading: str
    content: Sequence[Line | Sheet] = field(default_factory=list)


def render_terminal(parts: Sequence[Part]) -> Group:
    """What a terminal shows, in whatever width it has."""
    shown: list[RenderableType] = []
    for part in parts:
        shown += [Text(part.heading, style="bold"), *map(_in_terminal, part.content), Text()]
    return Group(*shown[:-1])


def _in_terminal(piece: Line | Sheet) -> RenderableType:
    if isinstance(piece, Line):
        return Text(piece.text, style=piece.style)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, side in zip(piece.head, piece.align, strict=True):
        # numbers stay whole, names and sentences are folded where the terminal is narrow
        table.add_column(name, justify="right" if side == "r" else "left", no_wrap=side == "r", overflow="fold")
    for position, row in enumerate(piece.rows):
        table.add_row(*map(Text, row), style=piece.styles[position] if piece.styles else "")
    return table


def render_markdown(parts: Sequence[Part]) -> str:
    """The same as Markdown, the first heading being the title."""
    pieces: list[str] = []
    for position, part in enumerate(parts):
        pieces.append(f"{'#' if position == 0 else '##'} {_plain(part.heading)}")
        lines: list[str] = []
        for piece in part.content:
            if isinstance(piece, Line):
                lines.append(f"- {_plain(piece.text)}")
            else:
                pieces += ["\n".join(lines)] if lines else []
                pieces.append(_pipes(piece))
                lines = []
        pieces += ["\n".join(lines)] if lines else []
    return "\n\n".join(pieces) + "\n"


def _pipes(sheet: Sheet) -> str:
    rows = [sheet.head, ["---:" if side == "r" else "---" for side in sheet.align]]
    rows += [[_plain(cell) for cell in row] for row in sheet.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, in a table too."""
    text = " ".join(text.split())
    for mark, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), *((c, f"\\{c}") for c in "|*`[]_")):
        text = text.replace(mark, escaped)
    return text
