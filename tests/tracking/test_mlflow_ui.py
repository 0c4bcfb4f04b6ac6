"""The MLflow UI as ``bench ui`` opens it: what a reader looks for is found, and nobody else is asked for anything."""

import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Page, expect

from bench.report import write_report
from bench.results.points import load_points
from bench.tracking.store import Tracker
from bench.tracking.sync import sync, sync_report
from bench.tracking.view import default_uri
from tests.browser import Watched, chromium, watched_page
from tests.servers import PATIENCE_S, UiServer, ui_server
from tests.written import Written

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own code
PATIENCE_MS = 1000 * PATIENCE_S / 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiServer]:
    results = tmp_path_factory.mktemp("results")
    written = Written(results / "antispoof" / "quick")
    curve = [{"step": step, "loss": 100 / step, "learning_rate": 0.1} for step in range(10, 200, 10)]
    times = {"started_at": 1_790_000_000.0, "ended_at": 1_790_000_090.0}
    for method, budget, stage in (("feature_noise", 0.5, "in_training"), ("magnitude_pruning", 0.25, "post_hoc")):
        written.add(method, budget, 11.5, 13.25, stage=stage, curve=curve, **times)
    written.add("dense", None, 11.0, 13.0, control=True, curve=curve, **times)
    for note in written.folder.glob("trials/*/tracked.json"):
        note.unlink()
    tracker = Tracker(default_uri(results), "antispoof quick", results)
    sync(tracker, load_points(written.save()))
    sync_report(tracker, write_report(written.folder).points)
    with ui_server(results) as started:
        yield started


@pytest.fixture(scope="module")
def watched(server: UiServer) -> Iterator[Watched]:
    """The page that the command names for the comparison."""
    with chromium() as browser:
        found = watched_page(
            browser, (f"{server.address}/", "data:", "blob:"), viewport={"width": 1800, "height": 1000}
        )
        found.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield found


@pytest.fixture
def page(server: UiServer, watched: Watched) -> Page:
    address = re.search(r"antispoof quick: (http\S+)", server.log)
    assert address, server.log
    watched.page.goto("about:blank")
    watched.page.goto(address[1])
    return watched.page


def test_runs_are_flat_with_the_columns_that_matter(page: Page) -> None:
    for name in ("report", "dense seed 0", "feature_noise 0.5 seed 0", "magnitude_pruning 0.25 seed 0"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    for column in ("eval_eer_percent", "dev_eer_percent", "macs_ratio", "latency_ratio"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
    expect(page.get_by_text("4 matching runs")).to_be_visible()
    expect(page.get_by_text("13.25").first).to_be_visible()
    expect(page.get_by_text("1.5min").first).to_be_visible()  # the trial's duration, not that of logging it


def test_tags_filter(page: Page) -> None:
    search = page.get_by_placeholder("metrics.rmse")
    search.fill('tags.stage = "post_hoc"')
    search.press("Enter")
    expect(page.get_by_text("1 matching run")).to_be_visible()
    expect(page.get_by_role("link", name="magnitude_pruning 0.25 seed 0")).to_be_visible()


def test_a_run_has_its_learning_curve(page: Page) -> None:
    page.get_by_role("link", name="feature_noise 0.5 seed 0").click()
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("train_loss")
    chart = page.locator(".js-plotly-plot .scatterlayer .js-line").first
    expect(chart).to_be_visible()


def test_the_report_run_shows_the_front(page: Page, watched: Watched) -> None:
    page.get_by_role("link", name="report").click()
    page.get_by_role("tab", name="Artifacts").click()
    for name in ("points.csv", "report.html", "report.md", "front.svg"):
        expect(page.get_by_text(name).first).to_be_visible()
    page.get_by_text("front.svg").first.click()
    picture = page.locator("img[src^='blob:'], img[src*='front.svg']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200


def test_nobody_else_is_asked_for_anything(server: UiServer, watched: Watched) -> None:
    """Comes last, when all the pages have been seen."""
    assert watched.refused == []
    main = psutil.Process(server.pid)
    for process in (main, *main.children(recursive=True)):
        for connection in process.net_connections("inet"):
            for end in filter(None, (connection.laddr, connection.raddr)):
                assert end.ip == "127.0.0.1", f"{process.name()} {connection}"


def test_other_names_than_this_machines_are_refused(server: UiServer) -> None:
    """Else a page of somebody else could read the runs, by a name of its own for 127.0.0.1."""
    request = urllib.request.Request(server.address, headers={"Host": "somebody.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    refused.value.close()


def test_server_ends_with_the_command(server: UiServer) -> None:
    """Comes after all others, as it ends the server."""
    all_of_it = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    psutil.Process(server.pid).send_signal(signal.SIGTERM)  # to the command alone, not to its children
    assert psutil.wait_procs(all_of_it, timeout=20)[1] == []
