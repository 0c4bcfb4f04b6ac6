"""What MLflow is told: everything, once, whenever somebody is killed and whatever was there before."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from bench.errors import BenchError
from bench.results.points import load_points
from bench.tracking.store import Tracker
from bench.tracking.sync import BackgroundTracker, sync, sync_report
from bench.tracking.view import default_uri, metric_names
from tests.servers import ui_server
from tests.written import Written

pytestmark = [  # of MLflow's own code
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]

CURVE = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in (10, 20, 30)]
EXPERIMENT = "antispoof quick"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema, which takes ten seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    Tracker(default_uri(folder), "another", folder)
    return folder / "mlflow.db"


class Results:
    """A comparison of three trials on disk, and the store it is logged to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = Written(folder / "antispoof" / "quick")
        times = {
            "curve": CURVE,
            "started_at": 1_700_000_000.25,
            "ended_at": 1_700_000_060.5,
            "train_macs": 9_000_000_000,
            "logged": {"coding_entropy_bits": 0.9},
        }
        self.add("feature_noise", 0.5, 11.0, 13.0, **times)
        self.add("magnitude_pruning", 0.25, 12.0, None, stage="post_hoc", latency=False, **times)
        self.add("dense", None, 10.0, 12.0, control=True, **times)
        self.uri = default_uri(folder)

    def add(self, *arguments: Any, **record: Any) -> Path:
        files = self.written.add(*arguments, **record)
        (files / "tracked.json").unlink()
        (files / "model.onnx").write_bytes(b"a model")
        self.written.save()
        return files

    def files(self, number: int) -> Path:
        return self.written.folder / "trials" / f"{number:016x}"

    def sync(self) -> Tracker:
        tracker, points = Tracker(self.uri, EXPERIMENT, self.folder), load_points(self.written.folder)
        sync(tracker, points)
        sync_report(tracker, points)
        return tracker

    def runs(self, kind: str = "trial", view: int = ViewType.ACTIVE_ONLY) -> dict[str, Run]:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        found = client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'", view)
        assert len({run.info.run_name for run in found}) == len(found), "a trial was logged twice"
        return {run.info.run_name: run for run in found}


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Results:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Results(tmp_path)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


def test_breakdowns_of_any_name_become_names_that_mlflow_allows() -> None:
    names = {"dev_eer_percent/<5 dB": 1.0, "dev_eer_percent/>=25 dB": 2.0, "a+b": 3.0, "odd(%)": 4.0}
    assert metric_names(names) == {
        "dev_eer_percent/below 5 dB": 1.0, "dev_eer_percent/from 25 dB": 2.0, "aplusb": 3.0, "odd___": 4.0,
    }  # fmt: skip


def test_a_trial_is_one_flat_run_with_tags_metrics_curves_and_files(results: Results) -> None:
    tracker = results.sync()
    runs = results.runs()
    assert set(runs) == {"feature_noise 0.5 seed 0", "magnitude_pruning 0.25 seed 0", "dense seed 0"}
    run = runs["feature_noise 0.5 seed 0"]
    assert (run.info.status, run.info.start_time, run.info.end_time) == (
        "FINISHED",
        1_700_000_000_250,
        1_700_000_060_500,
    )
    expected = {"task": "antispoof", "preset": "quick", "method": "feature_noise", "stage": "in_training", "seed": "0"}
    expected |= {"budget": "0.5", "status": "complete", "chosen": "yes", "control": "no", "data": "embedded"}
    assert expected.items() <= run.data.tags.items() and runs["dense seed 0"].data.tags["control"] == "yes"
    assert run.data.params == {"budget": "0.5", "seed": "0"}
    measured = {"dev_eer_percent": 11, "eval_eer_percent": 13, "eval_eer_percent/A07": 3, "macs_ratio": 0.5}
    measured |= {"latency_ms": 0.1, "train_macs": 9e9, "size_bytes": 315_267, "cpu_s": 12.5, "train_steps": 175}
    assert {**measured, "method_coding_entropy_bits": 0.9}.items() <= run.data.metrics.items()
    assert not {"seed", "budget", "trial"} & set(run.data.metrics)
    client = MlflowClient(results.uri)
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in losses] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["model.onnx", "trial.json"]
    note = json.loads((results.files(1) / "tracked.json").read_text())
    assert (note["run_id"], note["experiment_id"]) == (run.info.run_id, tracker.experiment_id)
    about = client.get_experiment(tracker.experiment_id).tags
    assert "the run named **report**" in about["mlflow.note.content"]
    assert "metrics.`eval_eer_percent`" in about["mlflow.sharedViewState.bench"]


def test_what_has_been_logged_is_left_alone(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    results.sync()
    for name in ("start", "describe", "curve", "upload", "end"):
        monkeypatch.setattr(Tracker, name, lambda *_, **__: pytest.fail("logged again"))
    results.sync()


def test_what_is_measured_later_is_added_to_the_run(results: Results) -> None:
    results.sync()
    before = results.runs()["magnitude_pruning 0.25 seed 0"]
    assert "eval_eer_percent" not in before.data.metrics
    (results.files(2) / "eval.json").write_text('{"eer_percent": 14.5}')
    (results.files(2) / "latency.json").write_text('{"latency_ms": 0.2, "latency_ratio": 0.4}')
    results.written.index["methods"]["feature_noise"]["trials"][0]["chosen"] = False
    results.written.save()
    results.sync()
    runs = results.runs()
    after = runs["magnitude_pruning 0.25 seed 0"]
    assert after.info.run_id == before.info.run_id and after.info.end_time == before.info.end_time
    assert (after.data.metrics["eval_eer_percent"], after.data.metrics["latency_ratio"]) == (14.5, 0.4)
    assert runs["feature_noise 0.5 seed 0"].data.tags["chosen"] == "no"
    assert len(MlflowClient(results.uri).get_metric_history(after.info.run_id, "macs")) == 1


def test_a_value_that_is_measured_again_replaces_the_old_one(results: Results) -> None:
    results.sync()
    change(results.files(1) / "latency.json", latency_ms=0.05)  # smaller: MLflow takes the larger of the same moment
    results.sync()
    assert results.runs()["feature_noise 0.5 seed 0"].data.metrics["latency_ms"] == 0.05


def test_a_trial_that_failed_and_was_run_again_has_one_run(results: Results) -> None:
    record = json.loads((results.files(1) / "trial.json").read_text())
    (results.files(1) / "trial.json").write_text('{"status": "failed", "reason": "its process died", "retry": true}')
    results.sync()
    failed = results.runs()["feature_noise 0.5 seed 0"]
    assert failed.info.status == "FAILED" and failed.data.tags["reason"] == "its process died"
    change(results.files(1) / "trial.json", **record)
    results.sync()
    run = results.runs()["feature_noise 0.5 seed 0"]
    assert run.info.run_id == failed.info.run_id and run.info.status == "FINISHED"
    assert run.data.tags["reason"] == "" and "train_loss" in run.data.metrics


LOGGING = """
import os, signal, sys
from pathlib import Path
from bench.results.points import load_points
from bench.tracking.store import Tracker
from bench.tracking.sync import sync
uri, folder = sys.argv[1:]
Tracker.upload = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sync(Tracker(uri, "antispoof quick", Path(folder).parent.parent), load_points(Path(folder)))
"""


def test_a_supervisor_that_is_killed_while_logging_leaves_nothing_half(results: Results) -> None:
    command = [sys.executable, "-c", LOGGING, results.uri, str(results.written.folder)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    assert [run.info.status for run in results.runs().values()] == ["RUNNING"]
    results.sync()
    assert_all_is_there_once(results)


@pytest.mark.parametrize("method", ["describe", "curve", "upload", "end"])  # before the note is written, and after
def test_logging_that_is_interrupted_goes_on(results: Results, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Tracker, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.sync()
    assert [run.info.status for run in results.runs().values()] == ["RUNNING"]
    results.sync()
    assert_all_is_there_once(results)


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def assert_all_is_there_once(results: Results) -> None:
    runs = results.runs()
    assert len(runs) == 3 and {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all(len(history(results, run, "train_loss")) == 3 for run in runs.values())
    assert all(len(history(results, run, "macs")) == 1 for run in runs.values())


def history(results: Results, run: Run, metric: str) -> list[Any]:
    return MlflowClient(results.uri).get_metric_history(run.info.run_id, metric)


def test_runs_that_nobody_will_end_are_marked_but_not_those_of_others(results: Results) -> None:
    tracker = results.sync()
    own = results.runs()["dense seed 0"].data.tags["results"]
    gone = tracker.start("gone", {"kind": "trial", "key": "of code that has changed", "results": own}, None)
    foreign = tracker.start("foreign", {"kind": "trial", "key": "0" * 15 + "1", "results": "elsewhere:/results"}, None)
    results.sync()
    status = {run.info.run_id: run.info.status for run in results.runs().values()}
    assert (status[gone], status[foreign]) == ("KILLED", "RUNNING")


def test_a_run_that_was_deleted_in_the_ui_stays_deleted(results: Results) -> None:
    results.sync()
    MlflowClient(results.uri).delete_run(results.runs()["dense seed 0"].info.run_id)
    change(results.files(3) / "latency.json", latency_ms=0.3)
    results.sync()
    assert "dense seed 0" not in results.runs() and "dense seed 0" in results.runs(view=ViewType.DELETED_ONLY)


def test_a_store_that_was_thrown_away_is_filled_again(results: Results, empty_store: Path) -> None:
    results.sync()
    shutil.copy(empty_store, results.folder / "mlflow.db")
    results.sync()
    assert len(results.runs()) == 3


def test_the_report_is_one_run_whose_files_are_replaced(results: Results, tmp_path: Path) -> None:
    for name in ("front.svg", "report.html", "report.md", "points.csv"):
        (results.written.folder / name).write_text("first")
    results.sync()
    first = results.runs("report")["report"]
    (results.written.folder / "front.svg").write_text("second")
    results.sync()
    run = results.runs("report")["report"]
    assert run.info.run_id == first.info.run_id and run.info.status == "FINISHED"
    client = MlflowClient(results.uri)
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == [
        "front.svg",
        "points.csv",
        "report.html",
        "report.md",
    ]
    assert Path(client.download_artifacts(run.info.run_id, "front.svg", str(tmp_path))).read_text() == "second"
    results.written.index["identity"] = "another model"
    results.written.save()
    results.sync()
    found = client.search_runs([run.info.experiment_id], "tags.kind = 'report'")
    assert {r.data.tags["comparison"] for r in found} == {"0123456789abcdef", "another model"} and len(found) == 2


def test_a_results_folder_that_was_moved_keeps_its_runs_and_writes_beside_itself(
    results: Results, tmp_path: Path
) -> None:
    """Its new name has signs that mean something in an address."""
    results.sync()
    before = {name: run.info.run_id for name, run in results.runs().items()}
    moved = tmp_path / "a?b #%20é'"
    moved.mkdir()
    for name in ("antispoof", "mlflow.db", "mlartifacts"):
        (tmp_path / name).rename(moved / name)
    (moved / "antispoof" / "quick" / "points.csv").write_text("new")
    tracker = BackgroundTracker(moved, "antispoof", "quick", None)
    assert tracker.sync() == tracker.sync_report(load_points(moved / "antispoof" / "quick")) == ""
    results.uri = default_uri(moved)
    assert {name: run.info.run_id for name, run in results.runs().items()} == before
    client, report = MlflowClient(results.uri), results.runs("report")["report"]
    assert [file.path for file in client.list_artifacts(report.info.run_id)] == ["points.csv"]
    assert [file.path for file in client.list_artifacts(before["dense seed 0"])] == ["model.onnx", "trial.json"]
    assert {path.name for path in tmp_path.iterdir()} == {moved.name}


def test_a_store_that_cannot_be_opened_is_said_once_and_tried_again(results: Results) -> None:
    (results.folder / "file").write_text("")  # where the folder of the database should be
    uri = default_uri(results.folder / "file" / "folder")
    tracker = BackgroundTracker(results.folder, "antispoof", "quick", uri)
    assert "mlflow.db" in tracker.sync()
    assert tracker.sync() == ""
    (results.folder / "file").unlink()
    (results.folder / "file" / "folder").mkdir(parents=True)
    shutil.copy(results.folder / "mlflow.db", results.folder / "file" / "folder")
    results.uri = uri
    assert tracker.sync() == "" and len(results.runs()) == 3


def test_a_server_that_goes_away_loses_nothing(results: Results) -> None:
    with ui_server(results.folder) as server:
        results.uri = server.address
        tracker = results.sync()
        server.stop(signal.SIGKILL)
        results.add("uniform_width", 0.5, 15.0, 16.0, control=True)
        with pytest.raises(BenchError, match=server.address):
            sync(tracker, load_points(results.written.folder))
        with pytest.raises(BenchError, match=server.address):
            results.sync()
        server.start()
        sync(tracker, load_points(results.written.folder))
        runs = results.runs()
        assert len(runs) == 4 and {run.info.status for run in runs.values()} == {"FINISHED"}
