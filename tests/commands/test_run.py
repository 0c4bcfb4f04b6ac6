"""A whole comparison through the command line: results, repeat, interruption."""

import json
import platform
import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from tasks.antispoof import Antispoof
from tests.chaos import untimed
from tests.conftest import SMOKE_METHODS, Finished, SmokeRun, bench
from tests.jobs import Here

Bench = Callable[..., Finished]

ISSUED_COLUMNS = {
    *("task", "preset", "method", "stage", "budget", "seed", "trial", "status", "dev_eer_percent", "eval_eer_percent"),
    *("params", "macs", "effective_macs", "bops", "size_bytes", "latency_ms", "latency_ratio", "train_steps", "run_id"),
}


def points(smoke: SmokeRun) -> pd.DataFrame:
    return pd.read_csv(smoke.folder / "points.csv")


def test_smoke_run_ends_with_table_answer_and_report(smoke: SmokeRun) -> None:
    for shown in (
        "feature_noise",
        "magnitude_pruning+quantization:rounds=1",
        "eval",
        "The smoke preset only checks",
        "report.html",
    ):
        assert shown in " ".join(smoke.first.output.split())  # whatever the width of the output
    for bad in ("Traceback", "Warning", "not tracked"):
        assert bad not in smoke.first.output
    assert "The smoke preset only checks" in (smoke.folder / "report.html").read_text()


def test_points_have_all_columns_and_hold_their_budgets(smoke: SmokeRun) -> None:
    table = points(smoke)
    assert set(table.columns) >= ISSUED_COLUMNS
    assert len(table) == 1 + 4 * 2 and (table["status"] == "complete").all()
    assert table["eval_eer_percent"].between(0, 100).all() and table["run_id"].notna().all()
    budgeted = table[table["budget"].notna()]
    assert (budgeted["macs_ratio"] <= budgeted["budget"]).all()
    assert (budgeted["macs_ratio"] >= 0.9 * budgeted["budget"]).all()
    assert (table["total_steps"] == 30).all()
    small = table[table["method"] == "uniform_width"].set_index("budget")["latency_ratio"]
    assert small[0.0625] < small[0.25] < 1


def test_everything_is_in_mlflow(smoke: SmokeRun) -> None:
    with sqlite3.connect(smoke.results / "mlflow.db") as database:
        trials = "select run_uuid from tags where key = 'kind' and value = 'trial'"
        runs = dict(database.execute(f"select run_uuid, status from runs where run_uuid in ({trials})"))
        reports = database.execute("select count(*) from tags where key = 'kind' and value = 'report'").fetchone()
        named = {row[0] for row in database.execute("select distinct key from metrics")}
        tags = {row[0] for row in database.execute("select distinct key from tags")}
    assert set(runs) == set(points(smoke)["run_id"]) and set(runs.values()) == {"FINISHED"}
    assert reports == (1,)
    assert {"dev_eer_percent", "eval_eer_percent", "macs", "latency_ratio", "size_bytes", "train_loss"} <= named
    assert {"task", "preset", "method", "stage", "budget", "seed", "status"} <= tags
    assert not [name for name in tags if "parent" in name]


@pytest.fixture
def bench_jobless(bench_here: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The command in this process, without any job."""
    monkeypatch.setattr(Here, "_launch", Mock(side_effect=AssertionError("a job is started")))
    return bench_here


def test_repeat_trains_nothing_and_says_the_same(smoke: SmokeRun, bench_jobless: Bench) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.folder.glob("trials/*/trial.json")}
    table = points(smoke)
    where = ("antispoof", "--preset", "smoke", "--results", smoke.results)
    assert bench_jobless("run", *where, "--methods", SMOKE_METHODS).code == 0
    assert {path: path.stat().st_mtime_ns for path in smoke.folder.glob("trials/*/trial.json")} == before
    pd.testing.assert_frame_equal(points(smoke), table)


def test_report_is_rebuilt_from_what_was_tracked(smoke: SmokeRun, bench_jobless: Bench) -> None:
    written = {name: (smoke.folder / name).read_bytes() for name in ("points.csv", "report.html")}
    for name in written:
        (smoke.folder / name).unlink()
    assert bench_jobless("report", "antispoof", "--preset", "smoke", "--results", smoke.results).code == 0
    assert {name: (smoke.folder / name).read_bytes() for name in written} == written


def test_one_process_gives_the_numbers_of_two(smoke: SmokeRun, tmp_path: Path) -> None:
    """From fresh folders: with one worker and several threads for linear algebra, and with two workers."""
    methods = "feature_noise,magnitude_pruning"
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    if platform.machine() == "x86_64":  # here OpenBLAS sums in another order with two threads than with one
        environment["OPENBLAS_CORETYPE"] = "Haswell"
    run = bench(
        *("run", "antispoof", "--preset", "smoke", "--methods", methods, "--budgets", "0.25", "--jobs", "1"),
        *("--results", tmp_path),
        environment=environment,
    )
    assert run.code == 0, run.output
    serial = pd.read_csv(tmp_path / "antispoof" / "smoke" / "points.csv")
    parallel = points(smoke).query("budget == 0.25 and method in @methods.split(',')").reset_index(drop=True)
    pd.testing.assert_frame_equal(untimed(serial), untimed(parallel))


def test_corpus_in_the_real_layout_is_read(smoke: SmokeRun, tmp_path: Path) -> None:
    """The embedded corpus is written in the layout of ASVspoof 2019 LA, so a folder of it stands for a real one."""
    corpus = next((smoke.results / "cache").glob("antispoof-corpus-*"))
    read = Antispoof().at("smoke", cache=tmp_path, data=str(corpus)).prepare(1, lambda fraction, note: None)
    assert read == json.loads((smoke.folder / "comparison.json").read_text())["setting"]["data"]
