"""Reading the points of a comparison: damage is a failed trial."""

from pathlib import Path

import pytest

from bench.results.points import load_points
from tests.written import Written


@pytest.mark.parametrize("content", ['{"status": "banana"}', "[1, 2]", '{"status": "complete", "dev": 3}', "{", ""])
def test_a_trial_whose_record_is_damaged_has_failed(tmp_path: Path, content: str) -> None:
    written = Written(tmp_path)
    files = written.add("dense", None, 10.0, 12.0, control=True)
    (files / "trial.json").write_text(content)
    points = load_points(written.save())
    (row,) = points.table.to_dict("records")
    assert (row["status"], row["reason"]) == ("failed", "its record is missing or damaged")
    assert row["eval_eer_percent"] is None and points.eval_scores == {} and list(points.dev_scores.values()) == [{}]


@pytest.mark.parametrize("name", ["eval.json", "latency.json", "tracked.json"])
@pytest.mark.parametrize("content", ["[1, 2]", '{"eer_percent": "low", "latency_ms": "short", "run_id": 3}', "{"])
def test_a_damaged_file_beside_the_record_counts_as_missing(tmp_path: Path, name: str, content: str) -> None:
    written = Written(tmp_path)
    (written.add("dense", None, 10.0, 12.0, control=True) / name).write_text(content)
    column = {"eval.json": "eval_eer_percent", "latency.json": "latency_ms", "tracked.json": "run_id"}[name]
    table = load_points(written.save()).table
    assert table[column].isna().all() and (table["status"] == "complete").all()


def test_points_say_where_latency_was_measured(tmp_path: Path) -> None:
    points = load_points(Written(tmp_path).save())
    points.index["provenance"]["packages"] = {"onnxruntime": "1.31.0", "openvino": "2026.4.1"}
    assert points.timed_in == "ONNX Runtime 1.31.0 on one thread"  # as before there was a choice
    points.index["setting"] |= {"runtime": "openvino", "threads": 2}
    assert points.timed_in == "OpenVINO 2026.4.1 on 2 threads (wall-clock time)"
