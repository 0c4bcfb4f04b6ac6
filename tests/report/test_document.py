"""One document in three renderings: whatever it is given as text stays text in each of them."""

import io
import math
import re

import pytest
from rich.console import Console

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
    render_html,
    render_markdown,
    render_terminal,
)

EVIL = '<script>&"[red]x[/]|*_`'
COLUMNS = [Column("name", "name"), Column("score"), Column("why", "long", page_only=True)]
ROWS = [
    Row([EVIL, Cell("12.3", 12.34), "r"], "control"),
    Row(["b", Cell("none", math.inf), "r"]),
    Row(["c", Cell(""), ""]),
]
PIECES: list[Piece] = [
    Text([EVIL, Span(EVIL, "trials/1/", hint=EVIL)], "answer"),
    Bullets([EVIL, [Span(EVIL, look="bold")]]),
    Table(COLUMNS, ROWS),
    Definitions([(EVIL, [EVIL, "second"])], EVIL),
    Details(EVIL, [Text(EVIL)], unfolded=True),
    Text("for the page", page_only=True),
]
SECTIONS = [
    Section(EVIL, PIECES),
    Section("Two", [Text("here")], "two"),
    Section("Three", [Text("far")], page_only=True),
]


def terminal(sections: list[Section], width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(sections), highlight=False)
    return console.export_text()


def test_a_page_escapes_all_text_and_only_figures_are_markup() -> None:
    page = render_html(EVIL, [*SECTIONS, Section("Figure", [Figures(["<svg>1</svg>"], "wide")], "figure")])
    body = page[: page.index("<script>\ndocument")]
    assert "<script>&" not in body and "&lt;script&gt;&amp;&#34;[red]x[/]|*_`" in body
    assert '<figure class="scroll wide"><svg>1</svg></figure>' in body
    assert '<h2 id="two">Two</h2>' in body and body.count("<h1>") == 1


def test_a_page_sorts_numbers_by_what_lies_behind_them() -> None:
    page = render_html("", SECTIONS)
    assert '<td data-value="12.34">12.3</td>' in page
    assert page.count('data-value=""') == 2  # of the infinite one and of the one that is not known
    assert '<tr class="control"><td class="t name">' in page


def test_an_interval_goes_whole_to_the_next_line_of_a_narrow_page() -> None:
    cells = ("a:b", "+7.8 [+5.2, +12.8]")
    page = render_html("", [Section("", [Table([Column("method", "name"), Column("gap")], [Row(cells)])])])
    assert '<td class="interval" data-value="">+7.8 [+5.2,\N{NO-BREAK SPACE}+12.8]</td>' in page
    assert '<td class="t name">a:<wbr>b</td>' in page


def test_a_table_that_is_not_sortable_has_no_buttons() -> None:
    page = render_html("", [Section("", [Table(COLUMNS, ROWS, sortable=False)])])
    assert "</button></th>" not in page and "data-value=" not in page


def test_markdown_escapes_and_leaves_out_what_is_for_the_page() -> None:
    text = render_markdown(SECTIONS)
    escaped = r'&lt;script&gt;&amp;"\[red\]x\[/\]\|\*\_\`'
    assert text.startswith(f"# {escaped}\n\n**{escaped}{escaped}**\n\n- {escaped}\n- **{escaped}**\n\n")
    assert f"| {escaped} | 12.3 |" in text and "| --- | ---: |" in text
    assert "## Two\n\nhere\n" in text and "far" not in text and "for the page" not in text and "why" not in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("feature_noise", "feature_noise"),
        ("_late", r"\_late"),
        ("late_ and _x_", r"late\_ and \_x\_"),
        ("a\\|b", r"a\\\|b"),
        ("# no heading", r"\# no heading"),
        ("- no bullet", r"\- no bullet"),
        ("1. no list", r"1\. no list"),
        ("-0.5", "-0.5"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_takes_text_as_it_is(text: str, written: str) -> None:
    assert render_markdown([Section("", [Text(text)])]).splitlines()[-1] == written


def test_a_terminal_takes_no_text_for_markup() -> None:
    shown = terminal([Section(EVIL, [PIECES[0], Table(COLUMNS, ROWS)])])
    assert shown.count(EVIL) == 4


@pytest.mark.parametrize("piece", [Bullets([]), Definitions([]), Details("", []), Figures([])])
def test_a_terminal_refuses_what_it_cannot_show(piece: Piece) -> None:
    with pytest.raises(TypeError, match=type(piece).__name__):
        terminal([Section("", [piece])])


def test_a_narrow_terminal_keeps_numbers_whole() -> None:
    rows = [Row(["a_method_whose_name_is_long" * 2, Cell("1,234,567"), "r"])]
    assert re.search(r"1,234,567", terminal([Section("", [Table(COLUMNS, rows)])], 40))
