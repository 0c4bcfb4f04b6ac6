"""Debian's Chromium, driven by Playwright: pages that note what goes wrong and what they ask others for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

#: no sandbox, as tests run as root; the rest keeps Chromium itself from calling anybody
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; skips where there is no Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what it has noted.

    Attributes:
        page: to look at.
        errors: of its scripts, and what its console says of errors and warnings.
        refused: addresses that it asked for and that are not its own; none of them is let through.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def watched_page(browser: Browser, own: tuple[str, ...], **options: Any) -> Watched:
    """A new page that may ask for addresses with these beginnings only."""
    watched = Watched(browser.new_page(**options))

    def ask(route: Route) -> None:
        if route.request.url.startswith(own):
            route.continue_()
        else:
            watched.refused.append(route.request.url)
            route.abort()

    def say(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.errors.append(message.text)

    watched.page.route("**/*", ask)
    watched.page.on("console", say)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    return watched
