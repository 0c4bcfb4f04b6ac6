"""The documentation is complete, builds without a warning, and loads nothing from the network."""

import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import bench
from bench.plugins.registry import files, load_method
from tests.browser import chromium, watched_page
from tests.test_makefile import make
from tests.test_snippets import PAGES, ROOT, inline, named, tokens

DOCS = ROOT / "docs"
PARTS = ("Settings", "When it pays", "Measured")
FILLED = ("<!-- about -->", "<!-- knobs -->", "<!-- measured -->")


@pytest.fixture(scope="module")
def pages() -> Iterator[ModuleType]:
    """What fills them in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)  # it is no package
        yield importlib.import_module("pages")


@pytest.fixture(scope="module")
def kept(pages: ModuleType) -> ModuleType:
    """What it takes from the kept results."""
    return importlib.import_module("kept")


@pytest.mark.parametrize("name", sorted(files("methods")))
def test_every_method_has_a_page(name: str) -> None:
    page = DOCS / "methods" / f"{name}.md"
    assert page.is_file(), f"write docs/methods/{name}.md: idea, formula, settings, when it pays, measured, references"
    text, said = page.read_text(encoding="utf-8"), inspect.getdoc(load_method(name)) or ""
    assert text.startswith(f"# {name}\n")
    for part in (*(f"\n## {part}\n" for part in PARTS), *FILLED):
        assert part in text, part
    for source in re.findall(r"\d{4}\.\d{4,5}", said):
        assert f"https://arxiv.org/abs/{source}" in text, f"the docstring names arXiv {source}, the page does not"
    if not load_method(name).control:
        assert "```math\n" in text and "\n## References\n" in text


def test_no_page_is_of_a_method_that_is_gone() -> None:
    assert {page.stem for page in (DOCS / "methods").glob("*.md")} == {"index", *files("methods")}


@pytest.mark.parametrize(
    "page", [DOCS / "findings.md", *sorted((DOCS / "methods").glob("*.md"))], ids=lambda page: page.stem
)
def test_what_a_page_takes_from_code_and_results_is_that_of_today(pages: ModuleType, page: Path) -> None:
    """Pages are read in the repository, too."""
    text = page.read_text(encoding="utf-8")
    assert pages.filled(text, page.stem) == text, "run make docs"


def test_every_kept_comparison_is_on_the_pages_of_its_methods(kept: ModuleType) -> None:
    assert {path.name for path in (ROOT / kept.KEPT).glob("*_points.csv")} == {
        f"{n}_points.csv" for n in kept.COMPARISONS
    }
    assert "| 79.8 (78.9 to 81.4) | 1.000 | 0.250 |" in kept.measured("budgeted_broadcast")
    assert "PR AUC, 3 seeds" in kept.measured("unstructured_pruning")


def test_of_settings_and_methods_of_a_camp_dev_chooses_the_error_that_is_shown(kept: ModuleType) -> None:
    rows = [  # method, camp, control, dev, eval: of dense 10
        ("dense", "in_training", True, 1.0, 10.0),
        ("feature_noise", "in_training", False, 3.0, 20.0),
        ("stochastic_gates", "in_training", False, 2.0, 40.0),
        ("magnitude_pruning", "post_hoc", False, 3.0, 11.0),
        ("magnitude_pruning:rounds=1", "post_hoc", False, 2.0, 13.0),
        ("random_pruning", "post_hoc", True, 1.0, 10.0),
        ("magnitude_pruning+quantization", "post_hoc", False, 1.0, 10.0),  # smaller in another sense
        ("unstructured_pruning", "post_hoc", False, 1.0, 10.0),
    ]
    points = pd.DataFrame(rows, columns=["method", "stage", "control", "dev", "eval"])
    points["chain"] = points["method"].str.split(":").str[0]
    points["budget"] = points["method"].map(lambda name: float("nan") if name == "dense" else 0.25)
    both = pd.concat([points.assign(seed=0), points.assign(seed=1, eval=points["eval"] * 2)])
    one = points[points["method"] == "feature_noise"].assign(method="group_norm", chain="group_norm", dev=0.0, seed=0)
    found = kept.relative_errors(pd.concat([both, one]), 0.25)  # a seed is missing: it failed
    multiples = {name: list(np.exp(errors).round(6)) for name, errors in found.items()}
    assert multiples == {
        "in training": [4.0, 4.0],
        "post-hoc": [1.3, 1.3],
        "feature_noise": [2.0, 2.0],
        "stochastic_gates": [4.0, 4.0],
        "magnitude_pruning": [1.3, 1.3],
        "random_pruning": [1.0, 1.0],
    }


def test_every_name_that_bench_exports_is_in_the_api() -> None:
    documented = re.findall(r"^::: bench\.(\w+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    errors = {"BenchError", "BudgetError", "Declined", "MethodError"}
    assert sorted(documented) == sorted({*bench._MODULES, *errors})


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Where a page is read as it is; MkDocs looks after those that it builds."""
    found = [str(token.attrGet("href")) for token in inline(page, "link_open")]
    found += [str(token.attrGet("src")) for token in inline(page, "image")]
    for link in found:
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert place.startswith(("https://", "http://127.0.0.1")) or target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links."""
    heads = [tokens(page)[place + 1].content for place, t in enumerate(tokens(page)) if t.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a link or an anchor that leads nowhere is a warning, and a warning an error."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    run = built("--site-dir", str(folder))
    assert run.returncode == 0 and "WARNING" not in run.stderr, run.stderr
    return folder


def built(*options: str) -> subprocess.CompletedProcess[str]:
    """What `make docs` runs, with further options."""
    (line,) = (line for line in make(ROOT, "--dry-run", "docs").stdout.splitlines() if "bin/mkdocs" in line)
    setting, program, *words = shlex.split(line)
    assert program == ".venv/bin/mkdocs"
    name, _, value = setting.partition("=")
    command, environment = [sys.executable, "-m", "mkdocs", *words, *options], {**os.environ, name: value}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("link", ["other.md#nowhere", "nowhere.md", "#nowhere", "/other.md"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n\n[there]({link})\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n")
    settings: dict[str, object] = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": "docs",
        "hooks": [],
        "plugins": [],
        "extra_css": [],
    }
    settings |= {"nav": ["index.md", "other.md"], "theme": {"name": "mkdocs"}}
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings))
    run = built("--config-file", str(tmp_path / "mkdocs.yml"), "--site-dir", str(tmp_path / "site"))
    assert run.returncode == 1 and link in run.stderr, run.stderr


def test_what_a_page_takes_from_code_and_results_is_filled_in(site: Path) -> None:
    texts = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    assert len(texts) > len(files("methods")) and not any("```" in text for text in texts)
    noise = (site / "methods" / "feature_noise.html").read_text(encoding="utf-8")
    assert "<code>warm_up_share</code>" in noise and "antispoof_quick_points.csv" in noise and "<math" in noise


@pytest.mark.slow
def test_pages_are_whole_quiet_and_ask_nobody(site: Path) -> None:
    with chromium() as browser:
        watched = watched_page(browser, ("file:", "data:"))
        for page in sorted({*site.rglob("*.html")} - {site / "404.html"}):  # which is for a server
            watched.page.goto(page.as_uri())
            for width in (390, 1280):
                watched.page.set_viewport_size({"width": width, "height": 900})
                assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, page.name
            too_wide = "[...document.querySelectorAll('math')].filter(f => f.scrollWidth > f.clientWidth + 1).length"
            assert watched.page.evaluate(too_wide) == 0, page.name
            assert watched.errors == [] and watched.refused == [], page.name
