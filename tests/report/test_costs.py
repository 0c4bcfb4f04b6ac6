"""Speed, training and distance from the optimum by hand; what others have published changes nothing."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from bench.report import costs, write_report
from bench.report.answer import answer
from tests.report.cases import STEPS, known_optimum, read
from tests.written import Written


@pytest.mark.usefixtures("undrawn")
def test_speed_ups_by_hand(written: Written) -> None:
    files = written.add("zeros", 0.25, 12.0, 13.0, macs=1.0, effective=0.25)
    latency = {"latency_ms": 0.1, "latency_ratio": 0.8, "latency_chunk_ratio": 0.5, "latency_spread": 0.004}
    (files / "latency.json").write_text(json.dumps(latency))
    (row,) = read(written.save()).speedup.to_dict("records")
    found = [row[name] for name in ("executed", "theoretical", "latency_ratio", "latency_chunk_ratio", "realised")]
    assert found == pytest.approx([1, 4, 1.25, 2, 1.25 / 4])
    assert "latency_utterance_ratio" not in row
    write_report(written.folder)
    page = (written.folder / "report.html").read_text()
    assert "on a streaming chunk" in page and "on a whole utterance" not in page and "0.4 %" in page


def test_three_ledgers_of_training_by_hand(written: Written) -> None:
    start = {"start_train_macs": 600, "start_cpu_s": 30.0}
    for seed in (0, 1):
        own = {"train_steps": 175, "total_steps": 700, "train_macs": 100, "train_cpu_s": 5.0}
        written.add("pruning", 0.5, 1.0, 2.0, seed=seed, stage="post_hoc", **own, **start)
        own = {"train_steps": 700, "total_steps": 700, "train_macs": 700, "train_cpu_s": 40.0}
        written.add("noise", 0.5, 1.0, 2.0, seed=seed, **own)
    own = {"train_steps": 175, "total_steps": 700, "train_macs": 200, "train_cpu_s": 7.0}
    written.add("pruning", 0.25, 3.0, None, stage="post_hoc", chosen=False, trial=9, **own, **start)
    table = read(written.save()).training.set_index("method")
    assert table.loc["pruning", "models"] == 3
    expected = {"scratch_steps": 700, "given_steps": 175, "tuning_steps": 3 * 175 + 2 * 525}
    expected |= {"scratch_macs": 700, "given_macs": 100, "tuning_macs": 400 + 2 * 600}
    expected |= {"scratch_cpu_s": 35, "given_cpu_s": 5, "tuning_cpu_s": 17 + 2 * 30}
    assert table.loc["noise", ["scratch_macs", "given_macs", "tuning_macs"]].tolist() == [700, 700, 1400]
    assert {name: table.loc["pruning", name] for name in expected} == expected


def test_training_a_teacher_is_a_part_of_the_cost(written: Written) -> None:
    taught = {"teacher_train_macs": 50, "teacher_cpu_s": 3.0}
    own = {"train_steps": 700, "total_steps": 700, "train_macs": 700, "train_cpu_s": 40.0}
    written.add("noise", 0.5, 1.0, 2.0, **own, **taught)
    start = {"start_train_macs": 600, "start_cpu_s": 30.0}
    own = {"train_steps": 175, "total_steps": 700, "train_macs": 100, "train_cpu_s": 5.0}
    written.add("pruning", 0.5, 1.0, 2.0, stage="post_hoc", **own, **start, **taught)
    table = read(written.save()).training.set_index("method")
    assert table.loc["noise", ["scratch_macs", "scratch_cpu_s", "scratch_steps"]].tolist() == [750, 43, 700]
    assert table.loc["pruning", ["scratch_macs", "given_macs", "scratch_cpu_s"]].tolist() == [750, 100, 38]


def test_what_a_trained_model_is_good_for_by_hand(written: Written) -> None:
    for seed in (0, 1):
        written.add("dense", None, 10.0, 11.0 + seed, seed=seed, control=True)
        written.add("noise", 0.5, 11.0, 12.0, seed=seed, train_steps=700)
        written.add("pruning", 0.5, 12.0, 13.0, seed=seed, stage="post_hoc")
    table = read(written.save()).handed
    assert table["method"].tolist() == ["pruning", "noise"]  # the fewest steps first
    pruning, noise = table.to_dict("records")
    assert (pruning["steps"], pruning["trained"], pruning["start"], pruning["eval"]) == (175, 0.75, 12.8, 13.0)
    assert (noise["steps"], noise["worse"].value, pruning["worse"].value) == (700, 0.5, 1.5)
    assert math.isnan(noise["trained"])


def test_nothing_is_said_of_trained_models_where_no_method_starts_from_one(written: Written) -> None:
    written.add("noise", 0.5, 11.0, 12.0)
    assert read(written.save()).handed.empty


def test_results_of_older_runs_have_no_costs_but_steps(written: Written) -> None:
    written.add("pruning", 0.5, 1.0, 2.0, stage="post_hoc")
    table = read(written.save()).training.set_index("method")
    assert table.loc["pruning", "scratch_steps"] == 700
    assert table.loc["pruning", ["scratch_macs", "given_cpu_s", "tuning_macs"]].isna().all()


def test_excess_is_that_at_the_compute_of_each_model(written: Written) -> None:
    table = read(known_optimum(written)).excess.set_index("method")
    assert list(table.index) == ["feature_noise", "magnitude_pruning", "dense"]
    assert table.loc["feature_noise", 0.5] == pytest.approx(10)  # at the mean compute of both seeds it would be 37.5
    assert table.loc["feature_noise", 0.25] == pytest.approx(30)
    assert table.loc["feature_noise", "mean"] == pytest.approx(50 / 3)
    assert table.loc["feature_noise", "worst"] == pytest.approx(30)
    assert table.loc["magnitude_pruning", 0.5] == pytest.approx(100)
    assert math.isnan(table.loc["dense", 0.5]) and table.loc["dense", "mean"] == pytest.approx(25)


def test_a_score_that_should_be_large_falls_short(written: Written) -> None:
    written.index |= {"metric": {"name": "eer", "unit": "percent", "direction": "maximize"}, "best_possible": STEPS}
    written.add("feature_noise", 0.5, 9, 9.0)
    assert read(written.save()).excess["mean"].tolist() == pytest.approx([10])


def test_a_perfect_optimum_has_no_relative_excess(written: Written) -> None:
    written.index["best_possible"] = [[0.5, 0.0]]
    written.add("feature_noise", 0.5, 9, 9.0)
    assert read(written.save()).excess.empty
    write_report(written.folder)


def test_a_search_between_budgets_counts_for_the_next_larger_one(written: Written) -> None:
    written.index["best_possible"] = [*STEPS, [0.3, 19.0]]
    written.add("feature_noise", 0.3, 9, 38.0)
    table = read(written.save()).excess
    assert table[0.5].tolist() == pytest.approx([100]) and table[0.25].isna().all()


def comparison(folder: Path, *, task: str = "antispoof", preset: str = "paper", model: str = "resnet34") -> Path:
    """A comparison with a method of each camp."""
    written = Written(folder / task / preset)
    written.index |= {"task": task, "preset": preset}
    written.index["setting"]["fields"]["model"] = model
    written.add("feature_noise", 0.5, 10, 12)
    written.add("magnitude_pruning", 0.5, 10, 14, stage="post_hoc")
    return written.save()


def table(folder: Path) -> pd.DataFrame:
    return read(folder).published.set_index("model")


def test_shares_are_of_the_published_dense_model(tmp_path: Path) -> None:
    found = table(comparison(tmp_path))
    assert found.loc["ResNet34", "share"] == 1
    smallest = found[found["params"] == 500_000].iloc[0]
    assert smallest["share"] == pytest.approx(0.91 / 5.64) and smallest["score"] == 2.53
    assert found["share"].notna().sum() == 21
    assert found.loc["T05", "score"] == 0.22 and pd.isna(found.loc["T05", "share"])
    assert set(found["data"]) == {"ASVspoof 2019 LA"} and found["source"].str.contains("arXiv 2601.13704").all()


@pytest.mark.parametrize(
    ("model", "dense", "row", "expected"),
    [
        ("crnn", "CRNNVAD", "DCRNNVAD 0.25", {"share": 0.635721 / 2.249961, "score": 9.42, "SNR <5 dB": 14.31}),
        ("transformer", "TrVAD", "DTrVAD 0.0625", {"share": 0.52316 / 19.573904, "score": 10.77, "SNR >=25 dB": 5.34}),
    ],
)
def test_the_model_of_the_task_selects_the_family(
    tmp_path: Path, model: str, dense: str, row: str, expected: dict[str, float]
) -> None:
    found = table(comparison(tmp_path, task="vad", model=model))
    assert len(found) == 9 and found.loc[dense, "share"] == 1
    assert found.loc[row, list(expected)].to_dict() == pytest.approx(expected)
    assert len(costs.part_names(found.reset_index())) == 4


def test_a_corrected_parameter_count_follows_from_the_mel_bands(tmp_path: Path) -> None:
    found = table(comparison(tmp_path, task="vad", model="transformer"))
    assert found.loc["DTrVAD 0.0625", "params"] == found.loc["DTrVAD 0.125", "params"] == 3578


def test_no_verdict_front_or_hypervolume_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = comparison(tmp_path)

    def verdict() -> list[str]:
        data = read(folder)
        parts = (data.duels, data.hypervolumes.drop(columns="interval"), data.chosen["front"])
        return [answer(data), *(part.to_json() for part in parts)]

    before = verdict()
    assert len(read(folder).published) == 33
    monkeypatch.setattr(costs, "PUBLISHED", tmp_path / "nowhere")
    assert read(folder).published.empty
    assert verdict() == before


def test_another_task_metric_or_model_has_none(tmp_path: Path) -> None:
    folder = comparison(tmp_path, task="somebody_elses")
    assert read(folder).published.empty
    folder = comparison(tmp_path, task="vad", model="perceptron")
    assert read(folder).published.empty
    written = Written(tmp_path / "other" / "antispoof" / "paper")
    written.index["metric"] = {"name": "accuracy", "unit": "percent", "direction": "maximize"}
    assert read(written.save()).published.empty
