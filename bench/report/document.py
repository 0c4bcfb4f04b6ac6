"""A document of sections with texts, tables and figures, and how it is written: as HTML, as Markdown, in a terminal.

Names and reasons come from plugins and users, so every renderer escapes all text it is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text as RichText

#: styles that a terminal shows in colour; a page has them as classes, and others of its own
_COLOURS = {
    **{"strong": "bold", "answer": "bold", "soft": "dim", "control": "dim"},
    **{"good": "green", "bad": "red", "warning": "yellow"},
}


@dataclass(frozen=True)
class Span:
    """Words of a line that lead to an address or look different; ``hint``: what a page says at the pointer."""

    text: str
    link: str = ""
    look: Literal["", "bold", "code"] = ""
    hint: str = ""


#: one line of text
Words = str | Span | Sequence[str | Span]


@dataclass(frozen=True)
class Text:
    """A paragraph; ``page_only``: Markdown leaves it out."""

    words: Words
    style: str = ""
    page_only: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[Words]


@dataclass(frozen=True)
class Column:
    """A column: a name may be folded on a small screen, a number stands at the right; ``style``: of the heading."""

    header: str
    kind: Literal["name", "text", "number", "long"] = "number"
    style: str = ""
    page_only: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text; ``value``: what a number is sorted by, None if it is not known."""

    words: Words
    value: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Row:
    """A row; ``apart``: a terminal leaves a gap above it."""

    cells: Sequence[Cell | str]
    style: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Table:
    """A table, whose rows a page sorts by a click on a heading."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    sortable: bool = True


@dataclass(frozen=True)
class Figures:
    """Figures side by side; ``layout`` is a class of the page. The SVG is the one thing that is not escaped."""

    svgs: Sequence[str]
    layout: str = ""


@dataclass(frozen=True)
class Definitions:
    """Names and what is said of each, one or more sentences; a heading of its own if there is one."""

    entries: Sequence[tuple[str, Sequence[str]]]
    heading: str = ""


@dataclass(frozen=True)
class Details:
    """Pieces behind a line that unfolds them."""

    summary: str
    pieces: Sequence[Piece]
    unfolded: bool = False


Piece = Text | Bullets | Table | Figures | Definitions | Details


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, and its id in a page; the first section of a document is its title."""

    heading: str
    pieces: Sequence[Piece]
    anchor: str = ""
    page_only: bool = False


def render_html(title: str, sections: Sequence[Section]) -> str:
    """One page that needs nothing else; ``title`` is what a window shows."""
    folder = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.tests |= {kind.__name__.lower(): lambda piece, kind=kind: isinstance(piece, kind) for kind in get_args(Piece)}
    page.filters |= {"spans": _spans, "as_cell": _as_cell, "plain": _plain, "unbroken": _unbroken}
    page.filters["sort_value"] = lambda value: "" if value is None or not math.isfinite(value) else value
    return page.get_template("page.html.j2").render(title=title, sections=sections)


def render_markdown(sections: Sequence[Section]) -> str:
    """The same as Markdown, without figures and links, and without what only a page has room for."""
    blocks: list[str] = []
    for section in sections:
        if not section.page_only:
            blocks.append(f"{'##' if blocks else '#'} {_markdown(section.heading)}")
            blocks += [block for piece in section.pieces for block in _blocks(piece)]
    return "\n\n".join(blocks) + "\n"


def render_terminal(sections: Sequence[Section]) -> Group:
    """Texts and tables for a terminal of any width."""
    shown: list[RenderableType] = []
    for section in sections:
        shown += [RichText(), RichText(section.heading, style="bold"), *map(_shown, section.pieces)]
    return Group(*shown[1:])


def _spans(words: Words) -> list[Span]:
    parts = [words] if isinstance(words, str | Span) else words
    return [part if isinstance(part, Span) else Span(part) for part in parts]


def _plain(words: Words) -> str:
    return "".join(span.text for span in _spans(words))


def _unbroken(words: Words) -> list[Span]:
    """A number that may be broken before its interval alone, where a table is wider than the screen."""
    return [replace(span, text=re.sub(r" (?!\[)", "\N{NO-BREAK SPACE}", span.text)) for span in _spans(words)]


def _as_cell(cell: Cell | str) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)


def _blocks(piece: Piece) -> Iterable[str]:
    match piece:
        case Text() if not piece.page_only:
            said = _markdown(piece.words)
            yield f"**{said}**" if piece.style in ("answer", "strong") else said
        case Bullets():
            yield "\n".join(f"- {_markdown(item)}" for item in piece.items)
        case Definitions():
            yield from [f"### {_markdown(piece.heading)}"] if piece.heading else []
            yield "\n".join(f"- {_markdown(name)}: {_markdown(' '.join(said))}" for name, said in piece.entries)
        case Details():
            yield from (block for inner in piece.pieces for block in _blocks(inner))
        case Table():
            yield _pipes(piece)


def _pipes(table: Table) -> str:
    kept = [position for position, column in enumerate(table.columns) if not column.page_only]
    rows = [[_markdown(table.columns[at].header) for at in kept]]
    rows += [[_markdown(_as_cell(row.cells[at]).words) for at in kept] for row in table.rows]
    lines = [" | ".join(row) for row in rows]
    lines.insert(1, " | ".join("---:" if table.columns[at].kind == "number" else "---" for at in kept))
    return "\n".join(f"| {line} |" for line in lines)


def _markdown(words: Words) -> str:
    """Text that Markdown takes as it is, in a table too."""
    parts = [(_escaped(span.text), span.look == "bold" and span.text) for span in _spans(words)]
    text = " ".join("".join(f"**{part}**" if bold else part for part, bold in parts).split())
    return re.sub(r"^(\d*)([-+.)]|#+)(?=\s)", r"\1\\\2", text)


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # underscores within words mean nothing to Markdown
    return re.sub(r"[\\|*`~\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def _shown(piece: Piece) -> RenderableType:
    match piece:
        case Text():
            return RichText(_plain(piece.words), style=_COLOURS.get(piece.style, ""))
        case Table():
            return _grid(piece)
    raise TypeError(f"a terminal shows texts and tables, and no {type(piece).__name__}")


def _grid(table: Table) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        # numbers stay whole, names and sentences are folded where the terminal is narrow
        number = column.kind == "number"
        justify: Literal["right", "left"] = "right" if number else "left"
        grid.add_column(RichText(column.header), justify=justify, no_wrap=number, overflow="fold")
    for row in table.rows:
        if row.apart:
            grid.add_section()
        cells = [RichText(_plain(_as_cell(cell).words)) for cell in row.cells]
        grid.add_row(*cells, style=_COLOURS.get(row.style, ""))
    return grid
