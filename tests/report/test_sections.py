"""What the page and the Markdown say, and that both hold what plugins and users write."""

import itertools
import json
import re
from pathlib import Path

import matplotlib
import pytest

from bench.errors import BenchError
from bench.report import costs, write_report
from bench.report.answer import answer, rules
from tests.report.cases import decline, known_optimum, read, terminal, with_items
from tests.report.test_costs import comparison
from tests.report.test_quality import compared
from tests.written import Written

ANCHORS = "verdicts attribution handed budgets best undiminished excess fronts attainment points axes speedup training"
ANCHORS += " hypervolume chance controls notes declined troubles breakdown published reading provenance"
LABEL = "published on ASVspoof 2019 LA: feature noise"


def test_the_report_leaves_its_files_and_nothing_else(built: Path) -> None:
    made = {path.name for path in built.iterdir()}
    assert made == {"comparison.json", "trials", "points.csv", "report.html", "report.md", "front.svg"}


def test_another_build_is_the_same_to_the_byte_and_leaves_matplotlib_as_it_was(built: Path) -> None:
    import matplotlib.pyplot as plt

    names = ("points.csv", "report.html", "report.md", "front.svg")
    first, before = [(built / name).read_bytes() for name in names], dict(matplotlib.rcParams)
    write_report(built)
    assert [(built / name).read_bytes() for name in names] == first
    assert dict(matplotlib.rcParams) == before
    assert not plt.get_fignums()


def test_the_page_needs_no_network_and_runs_nothing_of_a_plugin(built: Path) -> None:
    page = (built / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(link|img|iframe)|src=|@import", page)
    assert page.count("<script") == 1
    assert "<b>&$x$" not in page
    assert "noise&lt;b&gt;&amp;$x$|+quantization" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "secret" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_page_says_what_a_reader_needs(built: Path) -> None:
    page = (built / "report.html").read_text()
    assert answer(read(built)) in page
    for said in (
        "The embedded data is generated",
        "trained 2 times",
        "Latency has not been measured for every chosen point",
        "delivered 0.3001",
        "12.8 after 75 % of the steps",
        "13.5 ± 0.7",
        "700 training steps",
        "175 + 525",
        "the reference point",
        "trials/0000000000000001/",
        "run0000000000000001",
        "digest of the data",
        "A07",
        "hollow: if zeros cost nothing",
        "_late (in-training)",  # matplotlib leaves out labels that begin like this
    ):
        assert said.lower() in page.lower(), said


def test_where_zeros_were_free_another_model_would_win(built: Path) -> None:
    page = (built / "report.html").read_text()
    assert re.search(r"skipped weights that are zero.*in-training zeros with 12.5", page, re.DOTALL)


def test_markdown_keeps_its_tables_whole(built: Path) -> None:
    text = (built / "report.md").read_text()
    assert answer(read(built)) in text
    assert "noise&lt;b&gt;&amp;$x$\\|+quantization" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1
    assert "| broken | 50 % | 4 | 0 | failed | yes | ValueError: &lt;script&gt;alert(1)&lt;/script&gt; |" in text
    assert "| \\_late | 25 % | 2 | 0 | missed | yes | asked for 0.25" in text


def test_an_interrupted_run_has_a_report(written: Written) -> None:
    written.add("feature_noise", 0.5, 11.0, None, latency=False)
    written.add("magnitude_pruning", 0.5, 11.0, None, stage="post_hoc", latency=False)
    (written.save() / "front.svg").write_text("of an earlier run")
    data = write_report(written.folder)
    page = (written.folder / "report.html").read_text()
    assert answer(data) == "No answer yet: no compressed model has been scored on eval."
    assert "Nothing to draw" in page
    assert not (written.folder / "front.svg").exists()


def test_a_run_without_any_trial_has_a_report(written: Written) -> None:
    data = write_report(written.save())
    assert answer(data) == "No answer: no in-training method (one that compresses while it trains) took part."


def test_no_run_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no results in .*: run `bench run"):
        write_report(tmp_path / "antispoof" / "quick")


def test_a_mistyped_task_is_shown_what_there_is(written: Written) -> None:
    folder = written.save()
    with pytest.raises(
        BenchError, match=f"there are those of {folder.parent.name}/{folder.name}; or run `bench run antispof"
    ):
        write_report(folder.parent.parent / "antispof" / folder.name)


def test_a_metric_that_grows_and_has_no_scale(written: Written) -> None:
    written.index["metric"] = {"name": "si_sdr", "unit": "db", "direction": "maximize"}
    for method, stage, value in (("feature_noise", "in_training", 9.0), ("magnitude_pruning", "post_hoc", 8.0)):
        files = written.add(method, 0.5, 0, 1, stage=stage, start=None)
        record = json.loads((files / "trial.json").read_text())
        (files / "trial.json").write_text(json.dumps({**record, "dev": {"si_sdr_db": value}}))
        (files / "eval.json").write_text(json.dumps({"si_sdr_db": value}))
    data = write_report(written.save())
    assert "in-training is ahead by 1.0 db of SI SDR" in answer(data)
    page = (written.folder / "report.html").read_text()
    assert "Further up is better" in page
    assert 'id="hypervolume"' not in page


@pytest.mark.slow  # how many are listed is bounded, as `test_data.py` shows
def test_five_hundred_points_make_a_page_of_three_megabytes(written: Written) -> None:
    for method, budget, seed in itertools.product(range(25), (0.5, 0.25, 0.125, 0.0625), range(5)):
        written.add(f"method_{method}", budget, 12.0 + method, 13.0 + seed, seed=seed, stage="post_hoc")
    write_report(written.save())
    assert (written.folder / "report.html").stat().st_size < 3_000_000


@pytest.mark.usefixtures("undrawn")
def test_a_report_with_items_says_what_is_drawn_and_is_the_same_to_the_byte(written: Written) -> None:
    folder, pages = with_items(written, 3), []
    for _ in range(2):
        write_report(folder)
        pages.append((folder / "report.html").read_text())
    assert pages[0] == pages[1]
    for said in ("over 3 seeds and 90 evaluation items", "Too few seeds to tell small differences", 'id="best"'):
        assert said in pages[0]
    text = (folder / "report.md").read_text()
    assert "over 3 seeds and 90 evaluation items" in text and "| seeds and items |" in text


def test_every_output_shows_the_optimum(written: Written) -> None:
    folder = known_optimum(written)
    data = write_report(folder)
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert 'id="excess"' in page and "best possible</text>" in (folder / "front.svg").read_text()
    assert page.count("best possible</text>") == 1  # theory says nothing of latency and bytes
    assert "| feature_noise | in-training | 16.7 % | 30.0 % | 10.0 % | 30.0 % |" in text
    assert "feature_noise 16.7 % (30.0 %), dense 25.0 % (25.0 %), magnitude_pruning 100 %" in terminal(folder)
    assert data.points.table["best_possible"].tolist()[:3] == [10.0, 15.0, 20.0]
    last = data.hypervolumes.iloc[-1]
    assert last["method"] == "best possible" and last["cost_ratio"] > data.hypervolumes["cost_ratio"][:-1].max()


def test_without_theory_nothing_of_it_is_shown(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    folder = written.save()
    data = write_report(folder)
    everything = (folder / "report.html").read_text() + (folder / "report.md").read_text() + terminal(folder)
    assert "best possible" not in everything and data.points.table["best_possible"].isna().all()


@pytest.mark.usefixtures("undrawn")
def test_a_method_that_declines_is_said_and_is_no_failure(written: Written) -> None:
    written.add("feature_noise", 0.5, 9, 11.0)
    written.add("magnitude_pruning", 0.5, 9, 12.0, stage="post_hoc")
    decline(written, "quantization", "post_hoc", "no integer kernel for <gru>")
    folder = written.save()
    data = write_report(folder)
    page, text, shown = (folder / "report.html").read_text(), (folder / "report.md").read_text(), terminal(folder)
    assert "quantization" not in set(data.chosen["method"]) and data.troubles.empty
    assert re.search(r"<dt>quantization</dt><dd>no integer kernel for &lt;gru&gt;</dd>", page)
    assert text.count("- quantization: no integer kernel for &lt;gru&gt;") == 1
    assert shown.count("does not apply  quantization: no integer kernel for <gru>") == 1
    assert "interrupted" not in page and 'class="bad"' not in page and "Every trained model (2)" in page
    assert (data.points.table["status"] == "declined").sum() == 2
    assert "declined" in (folder / "points.csv").read_text()


@pytest.mark.usefixtures("undrawn")
def test_notes_are_shown_once_a_method(written: Written) -> None:
    for budget in (0.5, 0.25):
        notes = ["the hidden state of gru keeps its width: <noise> would enter the recurrence", f"at {budget}"]
        written.add("feature_noise", budget, 9, 11.0, notes=notes)
    folder = written.save()
    data = write_report(folder)
    assert data.points.notes == {"feature_noise": [notes[0], "at 0.5", "at 0.25"]}
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert page.count("keeps its width: &lt;noise&gt;") == text.count("keeps its width: &lt;noise&gt;") == 1
    assert terminal(folder).count("note  feature_noise: the hidden state of gru keeps its width: <noise>") == 1


def test_they_are_drawn_where_the_models_are_alike(tmp_path: Path) -> None:
    folder = comparison(tmp_path)
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert LABEL in page and LABEL in (folder / "front.svg").read_text()
    assert re.search(r"<details open><summary>33 published scores: ASVspoof 2019 LA", page)
    assert "no part of any verdict" in page
    assert "DynResNet34" in (folder / "report.md").read_text()


def test_short_presets_only_list_them(tmp_path: Path) -> None:
    folder = comparison(tmp_path, preset="quick")
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert LABEL not in page and "Hollow grey points" not in page
    assert re.search(r"<details><summary>33 published scores", page)
    assert "DynResNet34" not in (folder / "report.md").read_text()


def test_where_there_are_none_the_report_does_not_mention_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "PUBLISHED", tmp_path / "nowhere")
    folder = comparison(tmp_path)
    write_report(folder)
    assert "ublished" not in (folder / "report.html").read_text() + (folder / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_report_and_markdown_show_it(written: Written) -> None:
    folder = compared(written, 3)
    write_report(folder)
    assert "More than chance?" in (folder / "report.html").read_text()
    assert "too few seeds to tell" in (folder / "report.md").read_text()


def test_every_section_has_its_anchor(tmp_path: Path) -> None:
    """One comparison that has something to say in each of them."""
    written = Written(tmp_path / "antispoof" / "paper")
    written.index |= {"preset": "paper", "best_possible": [[0.25, 1.0], [0.5, 0.5], [1.0, 0.1]]}
    for seed, number in itertools.product(range(2), range(7)):
        written.add(
            f"method_{number}",
            0.5,
            12.0,
            12.0 + number + seed,
            seed=seed,
            stage=("in_training", "post_hoc")[number % 2],
        )
    for seed in range(2):
        written.add("dense", None, 10.0, 11.0, seed=seed, control=True)
        written.add("uniform_width", 0.5, 10.0, 14.0, seed=seed, control=True, notes=["so it is"])
    decline(written, "quantization", "post_hoc", "not here")
    write_report(written.save())
    page = (written.folder / "report.html").read_text()
    assert re.findall(r'<h2 id="(\w+)">', page) == ANCHORS.split()


def test_a_budget_of_one_cost_is_shown_on_the_others(written: Written) -> None:
    sizes = {"size_bytes": 400, "memory_bytes": 80}
    written.add("dense", None, 10.0, 11.0, control=True, **sizes)
    written.add("noise", 0.25, 10.0, 12.0, size_bytes=100, memory_bytes=40)
    written.add("broken", 0.5, 10.0, None, status="failed", **sizes)
    write_report(written.save())
    own = (written.folder / "report.md").read_text().partition("every axis")[2].partition("##")[0]
    assert "budget of compute | compute (asked) | file size | peak memory | latency |" in own
    assert "| noise | in-training | 25 % | 25.00 % | 25.00 % | 50.00 % | 50.00 % | 12.0 |" in own
    assert "dense |" not in own and "broken" not in own


def test_distillation_is_said_where_there_was_some(written: Written) -> None:
    written.add("noise", 0.5, 1.0, 2.0)
    for distilled in (False, True):
        written.index["setting"]["distill"] = distilled
        said = " ".join(rules(read(written.save())))
        assert ("Distillation: every model but the dense one" in said) == distilled
