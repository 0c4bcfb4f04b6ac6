"""The record and the files of a trial: what is written is read again, and what is damaged counts as missing."""

import inspect
import json
import os
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import ItemScores
from bench.storage.files import file_digest, write_json, write_whole
from bench.trial.record import EVAL, EVAL_ITEMS, LATENCY, MODEL, RECORD, TRACKED, AuditRecord, TrialFolder, TrialRecord

COMPLETE = TrialRecord(
    status="complete",
    method="magnitude_pruning",
    settings={"budget": 0.5, "norm": 2, "form": "literal"},
    seed=0,
    budget=1,
    start={"eer_percent": 10.5},
    start_train_macs=2**70,
    train_steps=10,
    curve=[{"step": 10, "loss": 0.5, "learning_rate": 1e-3}],
    notes=["the gate stays open"],
    files={"model.onnx": "0" * 64},
    cpu_s=1.5,
    dense_macs=1000,
    macs_ratio=0.5,
    macs=500,
    effective_macs=250,
    dev={"wer_percent": 30.0, "cer_percent": 5.0},
    audit=AuditRecord(passed=True, cpu_s=0.1, rebuilt=True, difference=0.0),
)


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path)


def test_a_record_that_was_written_is_read_again(folder: TrialFolder) -> None:
    folder.write(COMPLETE)
    assert folder.record() == COMPLETE
    assert pickle.loads(pickle.dumps(COMPLETE)) == COMPLETE  # noqa: S301  (jobs hand records on like this)
    content = folder.record_path.read_text()
    folder.write(folder.record() or TrialRecord())
    assert folder.record_path.read_text() == content  # whole numbers stay whole


def test_a_record_without_a_status_is_for_the_audit(folder: TrialFolder) -> None:
    folder.write(TrialRecord(method="dense", train_steps=3))
    assert folder.record() is None and folder.awaits_audit
    assert folder.trained() == TrialRecord(method="dense", train_steps=3)


def test_what_is_not_known_is_left_out_but_for_what_has_no_value(folder: TrialFolder) -> None:
    folder.write(TrialRecord("failed", "its process died", retry=True))
    assert json.loads(folder.record_path.read_text()) == {
        "status": "failed", "reason": "its process died", "retry": True,
    }  # fmt: skip
    folder.write(TrialRecord("failed", "diverged", train_steps=3))
    empty = dict.fromkeys(("budget", "dense_share", "start", "start_train_macs", "start_cpu_s", "train_macs"))
    assert json.loads(folder.record_path.read_text()) == {
        "status": "failed", "reason": "diverged", "train_steps": 3, **empty,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"3", b'"complete"', b'{"status": "comp'])
def test_a_record_that_is_no_object_counts_as_missing(folder: TrialFolder, content: bytes) -> None:
    folder.record_path.write_bytes(content)
    assert folder.record() is None and folder.finished("wer_percent") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "banana"), ("status", None), ("status", ["complete"]), ("reason", None), ("retry", "yes"),
        ("seed", "0"), ("seed", True), ("seed", 0.5), ("settings", []), ("settings", "budget"), ("start", [1.0]),
        ("start", {"eer_percent": "10"}), ("train_steps", {}), ("train_macs", 1.5), ("cpu_s", "a second"),
        ("cpu_s", None), ("curve", {"step": 1}), ("curve", [[1, 2]]), ("curve", [{"step": None}]), ("notes", "open"),
        ("notes", [1]), ("files", ["model.onnx"]), ("files", {"model.onnx": 1}), ("dense_macs", 0),
        ("macs_ratio", None), ("dense_macs", None), ("effective_macs", None), ("macs", False), ("dev", None),
        ("dev", 30.0), ("dev", {"wer_percent": None}), ("audit", "passed"), ("audit", {"passed": 1}), ("audit", {}),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_or_missing_value_counts_as_missing(folder: TrialFolder, name: str, value: Any) -> None:
    write_json(folder.record_path, {**COMPLETE.content(), name: value})
    assert folder.record() is None and folder.finished("wer_percent") is None


def test_fields_of_another_version_are_ignored(folder: TrialFolder) -> None:
    write_json(folder.record_path, {**COMPLETE.content(), "colour": "blue"})
    assert folder.record() == COMPLETE


def test_every_field_is_explained() -> None:
    lines = inspect.getsource(TrialRecord).splitlines()
    assert [f.name for f in fields(TrialRecord) if not any(f" {f.name}: " in li and "  # " in li for li in lines)] == []


def test_objectives_follow_the_metric_not_the_order_in_the_file(folder: TrialFolder) -> None:
    """Names are sorted in a file: after an interruption another score would have come first."""
    folder.write(COMPLETE)
    read = folder.record()
    assert read is not None and list(read.dev or {}) == ["cer_percent", "wer_percent"]
    assert read.objectives("wer_percent") == COMPLETE.objectives("wer_percent") == (30.0, 0.25)
    assert read.objectives("another") is None
    assert replace(COMPLETE, status="failed").objectives("wer_percent") is None


def test_a_trial_is_trained_again_if_its_model_was_changed(folder: TrialFolder) -> None:
    model = b"model" * 1000
    write_whole(folder.model_path, model)
    record = replace(COMPLETE, files={MODEL: file_digest(folder.model_path)})
    folder.write(record)
    assert folder.finished("wer_percent") == record and folder.changed_file(record) is None
    os.utime(folder.model_path)  # a copy has other times, and is as good
    assert folder.finished("wer_percent") == record
    times = folder.model_path.stat()
    for damaged in (model[:-1], b"", b"nodel" + model[5:]):
        folder.model_path.write_bytes(damaged)
        os.utime(folder.model_path, ns=(times.st_atime_ns, times.st_mtime_ns))  # to hide it does not help
        assert folder.finished("wer_percent") is None and folder.changed_file(record) == MODEL
    folder.model_path.write_bytes(model)
    assert folder.finished("wer_percent") == record
    folder.model_path.unlink()
    assert folder.finished("wer_percent") is None and folder.changed_file(record) == MODEL


@pytest.mark.parametrize("files", [None, {}, {"recipe.json": "0" * 64}])
def test_a_trial_that_names_no_model_is_trained_again(folder: TrialFolder, files: dict[str, str] | None) -> None:
    write_whole(folder.path / "recipe.json", "{}")
    folder.write(replace(COMPLETE, files=files))
    assert folder.record() is not None and folder.finished("wer_percent") is None


def test_a_failed_trial_is_finished_unless_the_machine_failed(folder: TrialFolder) -> None:
    folder.write(TrialRecord("declined", "no width is free"))
    assert folder.finished("wer_percent") == TrialRecord("declined", "no width is free")
    folder.write(TrialRecord("failed", "its process died", retry=True))
    assert folder.record() is not None and folder.finished("wer_percent") is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"eer_percent": "low"}', b'{"eer_percent": null}'])
def test_scores_and_latencies_of_another_shape_count_as_missing(folder: TrialFolder, content: bytes) -> None:
    for name in (EVAL, LATENCY, TRACKED):
        (folder.path / name).write_bytes(content)
    assert folder.eval_scores() is None and folder.latencies() is None
    assert "run_id" not in folder.mlflow_note()


def test_scores_latencies_and_notes_are_read_as_written(folder: TrialFolder) -> None:
    folder.write_eval_scores({"eer_percent": 3.0})
    timed = {"latency_ms": 0.1, "latency_ratio": 0.5}
    folder.write_latencies(timed)
    folder.write_mlflow_note({"run_id": "abc"})
    assert (folder.eval_scores(), folder.latencies()) == ({"eer_percent": 3.0}, timed)
    assert folder.mlflow_note() == {"run_id": "abc"}


def test_an_emptied_folder_holds_nothing_of_an_earlier_attempt(tmp_path: Path) -> None:
    folder = TrialFolder.of(tmp_path, "0123")
    folder.empty()
    folder.write_eval_scores({"eer_percent": 3.0})
    folder.empty()
    assert list((tmp_path / "trials" / "0123").iterdir()) == []


def test_items_in_single_precision_are_kept_so_and_nothing_is_lost(folder: TrialFolder) -> None:
    random = np.random.default_rng(0)
    for scores, kind in ((random.normal(size=500).astype("f4").astype("f8"), "f4"), (random.normal(size=500), "f8")):
        items = ItemScores(scores, random.integers(0, 2, 500), np.arange(500) // 2)
        folder.write_item_scores(items)
        with np.load(folder.path / EVAL_ITEMS) as file:
            assert file["scores"].dtype == kind
        again = folder.item_scores()
        assert again is not None and again.labels is not None and again.headline == items.headline
        assert np.array_equal(again.scores, items.scores) and np.array_equal(again.units, items.units)
    weighted = ItemScores(np.arange(9.0), np.arange(9) % 2, np.arange(9), np.arange(9), "average_precision")
    folder.write_item_scores(weighted)
    again = folder.item_scores()
    assert again is not None and again.curve == weighted.curve and again.headline == weighted.headline
    folder.write_item_scores(ItemScores(np.ones(3), None, np.arange(3)))
    again = folder.item_scores()
    assert again is not None and again.labels is None and again.headline == 1
    assert [path.name for path in folder.path.iterdir()] == [EVAL_ITEMS]


def test_items_that_are_gone_damaged_or_odd_count_as_none(folder: TrialFolder) -> None:
    path = folder.path / EVAL_ITEMS
    assert folder.item_scores() is None
    folder.write_item_scores(ItemScores(np.random.default_rng(0).normal(size=500), None, np.arange(500)))
    whole = path.read_bytes()
    for damaged in (b"", b"no zip", whole[:200], whole[:100] + b"\0" * 50 + whole[150:]):
        path.write_bytes(damaged)
        assert folder.item_scores() is None
    three = {"scores": np.ones(3), "units": np.arange(3)}
    for odd in ({"units": np.arange(4)}, {"curve": np.array("straight")}, {"more": np.ones(3)}):
        np.savez(path, **three | odd)
        assert folder.item_scores() is None
    np.savez(path, scores=np.array([{}, None], dtype=object), units=np.arange(2))  # a pickle is never opened
    assert folder.item_scores() is None


def test_records_are_read_without_pytorch() -> None:
    code = "import sys, bench.trial.record, bench.results.points; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_record_is_named_as_users_know_it(folder: TrialFolder) -> None:
    assert folder.record_path.name == RECORD == "trial.json"
