"""report.html in a real browser: nothing asked of others, nothing wrong, figures seen, tables sorted, any width."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page

from bench.report import write_report
from tests.browser import Watched, chromium, watched_page
from tests.written import Written

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report on two camps, controls, three budgets and two seeds."""
    written = Written(tmp_path_factory.mktemp("results") / "antispoof" / "quick")
    written.index["budgets"] = [0.5, 0.25, 0.125]
    for seed in (0, 1):
        for budget in written.index["budgets"]:
            written.add("feature_noise", budget, 20 - 10 * budget, 21 - 10 * budget + seed, seed=seed)
            written.add("magnitude_pruning", budget, 22 - 10 * budget, 24 - 9 * budget, seed=seed, stage="post_hoc")
        written.add("dense", None, 11.0, 13.0 + seed, seed=seed, control=True)
    written.add("a_method_whose_name_is_long+quantization", 0.25, 17.0, None, stage="post_hoc", latency=False)
    write_report(written.save())
    return (written.folder / "report.html").as_uri()


def opened(browser: Browser, address: str, **options: object) -> Watched:
    watched = watched_page(browser, ("file:", "data:"), **options)
    watched.page.goto(address)
    return watched


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE], ids=["screen", "phone"])
def test_page_is_whole_quiet_and_no_wider_than_the_screen(
    browser: Browser, address: str, scheme: str, viewport: dict[str, int]
) -> None:
    watched = opened(browser, address, color_scheme=scheme, viewport=viewport)
    page = watched.page
    figures = page.locator("svg").all()
    assert len(figures) >= 3
    for figure in figures:
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 100, figure.get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert watched.errors == [] and watched.refused == []
    page.close()


def test_a_click_on_a_heading_sorts_and_another_turns_round(browser: Browser, address: str) -> None:
    watched = opened(browser, address)
    watched.page.locator("details").evaluate_all("all => all.forEach(part => part.open = true)")
    tables = watched.page.locator("table.sortable").all()
    assert len(tables) >= 2
    moved = 0
    for table in tables:
        for column, head in enumerate(table.locator("thead th").all()):
            before = values(table, column)
            head.click()
            rising = values(table, column)
            assert head.get_attribute("aria-sort") == "ascending" and is_sorted(rising), (head.inner_text(), rising)
            head.click()
            falling = values(table, column)
            assert head.get_attribute("aria-sort") == "descending" and falling == turned_round(rising), falling
            assert sorted(map(str, before)) == sorted(map(str, rising))
            moved += rising != falling
    assert moved > 5 and watched.errors == []
    watched.page.close()


def test_a_point_tells_what_it_is_and_a_click_gives_the_command_that_exports_it(browser: Browser, address: str) -> None:
    watched = opened(browser, address, viewport={"width": 1280, "height": 900})
    page, tip, command = watched.page, watched.page.locator("#tip"), watched.page.locator("#command")
    assert not tip.is_visible() and not command.is_visible()
    for figure in page.locator("figure:has(a.point)").all():
        point = figure.locator("a.point").last
        point.scroll_into_view_if_needed()
        point.hover()
        assert tip.inner_text() == point.get_attribute("aria-label") and "EER % on eval" in tip.inner_text()
        inside = tip.bounding_box()
        assert inside is not None and inside["x"] >= 0 and inside["x"] + inside["width"] <= 1280
        assert inside["y"] >= 0 and inside["y"] + inside["height"] <= 900
        point.click()
        assert command.locator("code").inner_text() == point.get_attribute("data-command")
        command.locator("button").click()
        assert not command.is_visible() and not tip.is_visible()
    page.locator("a.point").first.focus()  # by the keyboard
    page.keyboard.press("Enter")
    assert tip.is_visible() and command.locator("code").inner_text().startswith("bench export antispoof --preset quick")
    assert page.locator("figure:has(a.point)").count() >= 4 and watched.errors == []
    page.close()


def values(table: Locator, column: int) -> list[float | str | None]:
    """What a column is sorted by: the exact value behind a cell, or its text; None where it is not known."""
    cells = table.locator(f"tbody tr td:nth-child({column + 1})")
    texts: list[str] = cells.evaluate_all("all => all.map(cell => cell.dataset.value ?? cell.textContent)")
    return [as_value(text) for text in texts]


def as_value(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def is_sorted(found: list[float | str | None]) -> bool:
    """Numbers by size, texts in the browser's own order; what is not known comes last."""
    known = [value for value in found if value is not None]
    numbers = [value for value in known if isinstance(value, float)]
    return found[: len(known)] == known and (len(numbers) < len(known) or numbers == sorted(numbers))


def turned_round(found: list[float | str | None]) -> list[float | str | None]:
    """The other way round, but for what is not known."""
    known = [value for value in found if value is not None]
    return [*reversed(known), *[None] * (len(found) - len(known))]


def test_dark_is_dark_and_paper_is_white(browser: Browser, address: str) -> None:
    light, dark = (lightness(opened(browser, address, color_scheme=scheme).page) for scheme in ("light", "dark"))
    assert light["page"] > 230 and dark["page"] < 60
    assert light["text"] < 90 and dark["text"] > 180
    assert dark["figure"] > 180, "figures are drawn in the colour of the text"
    watched = opened(browser, address)
    watched.page.emulate_media(media="print", color_scheme="light")
    assert lightness(watched.page)["page"] > 230
    assert watched.page.pdf(prefer_css_page_size=True).startswith(b"%PDF") and watched.errors == []


def lightness(page: Page) -> dict[str, float]:
    """The mean of red, green and blue, 0 to 255, of the page, its text, and the text of its first figure."""
    colours: dict[str, str] = page.evaluate("""() => {
        const of = (element, name) => getComputedStyle(element)[name];
        const root = [document.body, document.documentElement].map(e => of(e, "backgroundColor"));
        return {page: root.find(colour => !colour.endsWith(", 0)")) ?? "rgb(255, 255, 255)",
                text: of(document.body, "color"), figure: of(document.querySelector("svg"), "color")};
    }""")
    return {name: sum(map(float, rgb.split("(")[1].rstrip(")").split(",")[:3])) / 3 for name, rgb in colours.items()}
