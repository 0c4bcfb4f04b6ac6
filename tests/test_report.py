import doctest
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from rich.console import Console

import bench.report.numbers
from bench.errors import BenchError
from bench.report import write_report
from bench.report.answer import answer, budget_duels
from bench.report.chosen import chosen_points
from bench.report.table import result_table
from bench.results.points import load_points
from tests.written import Written

ODD = "noise<b>&$x$|+quantization"  # what a plugin may be called


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "results" / "antispoof" / "quick")


@pytest.fixture
def full(written: Written) -> Path:
    return write_full(written)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its report, for tests that only read."""
    folder = write_full(Written(tmp_path_factory.mktemp("results") / "antispoof" / "quick"))
    write_report(folder)
    return folder


def write_full(written: Written) -> Path:
    """Two seeds, a failed and a missed point, odd names, zeros, an interrupted timing."""
    for seed in (0, 1):
        written.add("feature_noise", 0.5, 11.0, 13.0 + seed, seed=seed)
        written.add("feature_noise", 0.25, 13.0, 15.0 - seed, seed=seed, latency=False)
        written.add("magnitude_pruning", 0.5, 12.0, 14.0, seed=seed, stage="post_hoc")
        written.add(ODD, 0.25, 14.0, 16.0 + seed, seed=seed, stage="post_hoc")
        written.add("dense", None, 11.0, 13.0, seed=seed, control=True)
    written.add("uniform_width", 0.25, 17.0, 18.0, control=True)
    written.add("zeros", 0.25, 12.0, 12.5, macs=1.0, effective=0.25)
    missed = {"status": "missed", "reason": "asked for 0.25 of the dense compute, delivered 0.3001"}
    written.add("_late", 0.25, 10.0, 10.0, macs=0.3001, **missed)
    files = written.add("broken", 0.5, 1.0, None, latency=False)
    (files / "trial.json").write_text(
        json.dumps({"status": "failed", "reason": "ValueError: <script>alert(1)</script>"})
    )
    return written.save()


def two_camps(written: Written, scores: list[tuple[float, float]], seeds: int = 1) -> str:
    """The answer where in-training and post-hoc score like this, at one budget after the other."""
    written.index["budgets"] = [0.5 / 2**n for n in range(len(scores))]
    for budget, (during, after) in zip(written.index["budgets"], scores, strict=True):
        for seed in range(seeds):
            written.add("feature_noise", budget, 20 - budget, during, seed=seed)
            written.add("magnitude_pruning", budget, 20 - budget, after, seed=seed, stage="post_hoc")
    return answer(load_points(written.save()))


def test_the_examples_of_the_numbers() -> None:
    assert doctest.testmod(bench.report.numbers).failed == 0


def test_the_report_leaves_its_files_and_nothing_else(built: Path) -> None:
    made = {path.name for path in built.iterdir()}
    assert made == {"comparison.json", "trials", "points.csv", "report.html", "report.md", "front.svg"}


def test_two_builds_are_the_same_to_the_byte(built: Path) -> None:
    names = ("points.csv", "report.html", "report.md", "front.svg")
    first = [(built / name).read_bytes() for name in names]
    write_report(built)
    assert [(built / name).read_bytes() for name in names] == first


def test_building_leaves_matplotlib_as_it_was(full: Path) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    write_report(full)
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
    points = load_points(built)
    page = (built / "report.html").read_text()
    assert answer(points) in page
    for said in (
        "The embedded data is generated speech",
        "trained 2 times",
        "Latency has not been measured for every chosen point",
        "delivered 0.3001",
        "12.8 (seed 0), 12.8 (seed 1)",
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
    points = load_points(built)
    text = (built / "report.md").read_text()
    assert answer(points) in text
    assert "noise&lt;b&gt;&amp;$x$\\|+quantization" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1
    assert "failed: broken 50 %" in text
    assert "missed: _late 25 %" in text


def test_the_table_of_the_terminal_shows_every_method(built: Path) -> None:
    console = Console(width=132, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    points = load_points(built)
    with console.file:
        console.print(result_table(points, 132))
    shown = console.export_text()
    assert all(method in shown for method in points.index["methods"])
    assert "(0.250 ≠ 0) 1.000" in shown


def test_points_are_averaged_over_seeds(built: Path) -> None:
    table = chosen_points(load_points(built)).set_index(["method", "budget"])
    row = table.loc[("feature_noise", 0.5)]
    assert (row["seeds"], row["scored"], row["eval_eer_percent"]) == (2, 2, 13.5)
    assert (row["eval_eer_percent_min"], row["eval_eer_percent_max"]) == (13.0, 14.0)
    assert table.loc[("broken", 0.5)]["failed"] == 1
    assert table.loc[("_late", 0.25)]["missed"] == 1


def test_duels_leave_out_controls_failures_and_what_costs_too_much(built: Path) -> None:
    points = load_points(built)
    half, quarter = budget_duels(points).to_dict("records")
    # _late missed its budget, so that it counts as worst, though its 0.3001 are within a half
    assert (half["in_training"], half["post_hoc"]) == ("feature_noise", "magnitude_pruning")
    assert (quarter["in_training"], quarter["post_hoc"]) == ("feature_noise", ODD)
    assert (quarter["uniform_score"], quarter["in_training_seeds"]) == (18.0, 2)
    assert budget_duels(points, "effective_macs_ratio").iloc[1]["in_training"] == "zeros"


def test_an_interrupted_run_has_a_report(written: Written) -> None:
    written.add("feature_noise", 0.5, 11.0, None, latency=False)
    written.add("magnitude_pruning", 0.5, 11.0, None, stage="post_hoc", latency=False)
    (written.save() / "front.svg").write_text("of an earlier run")
    points = write_report(written.folder)
    page = (written.folder / "report.html").read_text()
    assert answer(points) == "No answer yet: no compressed model has been scored on eval."
    assert "Nothing to draw" in page
    assert not (written.folder / "front.svg").exists()


def test_a_run_without_any_trial_has_a_report(written: Written) -> None:
    points = write_report(written.save())
    assert answer(points) == "No answer: no in-training method (one that compresses while it trains) took part."


def test_no_run_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no results in .*: run `bench run"):
        write_report(tmp_path / "antispoof" / "quick")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([(10, 12), (11, 14)], r"compressed while it trains: .* at 2 of 2 budgets, by 2.5 points of EER.*from 2.0 to"),
        ([(12, 10)], "better compressed afterwards: .* at 1 of 1 budget, by 2.0 points of EER on average\\."),
        ([(10, 12), (10, 12), (13, 12)], r"while it trains: .* at 2 of 3 budgets, by 1.0 .* \(from -1.0 to 2.0\)"),
        ([(10, 12), (14, 12)], "Neither is ahead: each camp wins 1 of 2 budgets on eval, and on average both score"),
        ([(10, 12), (15, 12)], "Neither is ahead: each camp wins 1 of 2 .* on average post-hoc is 0.50 points of EER"),
        ([(10, 11), (10, 11), (20, 11)], "Neither is ahead: the best in-training method wins 2 of 3 .* post-hoc is 2"),
        ([(12, 12), (13, 13)], "No difference: .* the same eval score at 2 budgets"),
    ],
)  # fmt: skip
def test_the_sentence_says_who_is_ahead(written: Written, scores: list[tuple[float, float]], said: str) -> None:
    assert re.search(said, two_camps(written, scores))


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "rests on 1 seed, which is too few"),
        (3, "rests on 3 seeds, which are too few"),
        (6, "6 seeds; for the hypervolumes of the two camps p = 0.03"),
    ],
)
def test_the_sentence_says_how_far_to_trust_it(written: Written, seeds: int, said: str) -> None:
    assert said in two_camps(written, [(10, 12)], seeds)


def only_in_training(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12)


def post_hoc_failed(written: Written) -> None:
    only_in_training(written)
    written.add("magnitude_pruning", 0.5, 10, None, stage="post_hoc", status="failed")


def post_hoc_too_large(written: Written) -> None:
    only_in_training(written)
    written.add("quantization", None, 10, 11, stage="post_hoc")


def in_training_too_large(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12, macs=0.6)
    written.add("magnitude_pruning", 0.5, 10, 12, stage="post_hoc")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (only_in_training, "no post-hoc method (one that compresses afterwards) took part"),
        (post_hoc_failed, "no post-hoc method has a finished model"),
        (post_hoc_too_large, "no post-hoc method has a finished model within any budget"),
        (in_training_too_large, "no in-training method has a finished model within any budget"),
    ],
)
def test_the_sentence_says_why_there_is_no_answer(
    written: Written, write: Callable[[Written], None], said: str
) -> None:
    write(written)
    assert said in answer(load_points(written.save()))


def test_budgets_that_one_camp_missed_are_not_counted(written: Written) -> None:
    written.add("feature_noise", 0.5, 10, 12)
    written.add("feature_noise", 0.25, 11, 13)
    written.add("magnitude_pruning", 0.5, 10, 14, stage="post_hoc")
    assert "at 1 of 1 budget that both camps reached, by 2.0" in answer(load_points(written.save()))


def test_a_metric_that_grows_and_has_no_scale(written: Written) -> None:
    written.index["metric"] = {"name": "si_sdr", "unit": "db", "direction": "maximize"}
    for method, stage, value in (("feature_noise", "in_training", 9.0), ("magnitude_pruning", "post_hoc", 8.0)):
        files = written.add(method, 0.5, 0, 1, stage=stage, start=None)
        record = json.loads((files / "trial.json").read_text())
        (files / "trial.json").write_text(json.dumps({**record, "dev": {"si_sdr_db": value}}))
        (files / "eval.json").write_text(json.dumps({"si_sdr_db": value}))
    points = write_report(written.save())
    assert "better compressed while it trains" in answer(points)
    assert "1.0 db of SI SDR" in answer(points)
    page = (written.folder / "report.html").read_text()
    assert "Further up is better" in page
    assert 'id="hypervolume"' not in page


def test_five_hundred_points_make_a_page_of_three_megabytes(written: Written) -> None:
    for method, budget, seed in itertools.product(range(25), (0.5, 0.25, 0.125, 0.0625), range(5)):
        written.add(f"method_{method}", budget, 12.0 + method, 13.0 + seed, seed=seed, stage="post_hoc")
    write_report(written.save())
    assert (written.folder / "report.html").stat().st_size < 3_000_000
