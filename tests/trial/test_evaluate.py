"""A chosen model is read on eval once, and timed; what does not agree with itself is timed again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import Batch, BenchError, ItemScores, Metric, Plan, Predict, Split, Task
from bench.export.latency import Reference, eager_call
from bench.export.model import export_onnx, save_module
from bench.results.points import COLUMNS
from bench.trial.evaluate import DenseLatency, evaluate_model, latencies, time_models
from bench.trial.record import TrialFolder
from bench.trial.setting import Setting
from tasks.antispoof import Antispoof
from tests.models import Points

NAMES = {name for name in COLUMNS if name.startswith("latency_")}


@dataclass(frozen=True)
class Plain(Task):
    """A task as somebody may have written it before there were items."""

    metric = Metric("accuracy", unit="percent", direction="maximize")
    presets: ClassVar[dict[str, Plan]] = {}

    def build_model(self) -> nn.Module:
        return nn.Linear(3, 2)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        yield Batch(torch.ones(4, 3), torch.ones(4))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.inputs).sum()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        return {self.metric.column: float(len(predict(next(self.batches(split, 0)).inputs)))}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 3)


class Itemised(Plain):
    """The same with items; counts how often it predicts."""

    predicted: ClassVar[list[int]] = []

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        self.predicted.append(1)
        outputs = predict(next(self.batches(split, 0)).inputs)
        return ItemScores(outputs[:, 0].double().numpy(), None, np.arange(len(outputs)))


def read_on_eval(task: Task, path: Path) -> TrialFolder:
    folder, setting = TrialFolder(path), SimpleNamespace(build_task=lambda: task, runtime="onnxruntime")
    folder.model_path.write_bytes(export_onnx(task.build_model(), task.example_input()).data)
    evaluate_model(setting, folder, lambda fraction, note: None)  # type: ignore[arg-type]
    return folder


def test_eval_is_read_once_without_items(tmp_path: Path) -> None:
    folder = read_on_eval(Plain(), tmp_path)
    assert folder.eval_scores() == {"accuracy_percent": 4.0} and folder.item_scores() is None


def test_eval_is_read_once_with_items(tmp_path: Path) -> None:
    folder = read_on_eval(Itemised(), tmp_path)
    items = folder.item_scores()
    assert items is not None and folder.eval_scores() == {"accuracy_percent": items.headline}
    assert Itemised.predicted == [1]


class Endless(Plain):
    """A task whose score is no number."""

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        return {self.metric.column: float("nan")}


def test_a_score_on_eval_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not finite numbers"):
        read_on_eval(Endless(), tmp_path)
    assert TrialFolder(tmp_path).eval_scores() is None


def test_timed_trials_have_all_columns_and_no_more(tmp_path: Path) -> None:
    setting = Setting("antispoof", "smoke")
    task = setting.build_task()
    assert isinstance(task, Antispoof)
    small = replace(task, width=4).build_model()
    module, integer = TrialFolder(tmp_path / "module"), TrialFolder(tmp_path / "integer")
    for folder, model in ((module, task.build_model()), (integer, small)):
        folder.empty()
        folder.model_path.write_bytes(export_onnx(model, task.example_input()).data)
    save_module(task.build_model(), task, module.path)
    time_models(setting, [module, integer], lambda fraction, note: None)
    timed: list[dict[str, Any]] = [folder.latencies() or {} for folder in (module, integer)]
    assert set(timed[0]) == NAMES
    assert NAMES - set(timed[1]) == {"latency_eager_ms", "latency_eager_ratio"}
    assert timed[0]["latency_real_time"] == timed[0]["latency_ms"] / 1e3  # of a second of audio
    assert timed[0]["latency_chunk_real_time"] == pytest.approx(timed[0]["latency_chunk_ms"] / 160)
    assert timed[1]["latency_ratio"] < 0.85 and timed[1]["latency_utterance_ratio"] < 0.85
    for row in timed:
        assert row["latency_chunk_ms"] < row["latency_ms"]


def test_eager_is_the_compressed_module_against_the_dense_one(tmp_path: Path) -> None:
    task, folder = Points(hidden=1024), TrialFolder(tmp_path)
    save_module(task.build_model(), task, tmp_path)
    folder.model_path.write_bytes(export_onnx(task.build_model(), task.example_input()).data)
    dense = nn.Sequential(task.build_model(), nn.Linear(2, 4096), nn.Linear(4096, 2048))
    against = DenseLatency(task)
    against.eager = Reference([eager_call(dense, task.example_input())])
    timed = latencies(task, folder, against)
    assert set(timed) == {
        name for name in NAMES if not any(part in name for part in ("chunk", "utterance", "real_time"))
    }
    assert timed["latency_eager_ratio"] < 0.7 < timed["latency_ratio"]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ([(1.0, 0.004)], 0),
        ([(1.0, 0.05), (1.0, 0.004)], 1),
        ([(1.0, 0.05), (1.0, 0.09), (1.0, 0.08)], 0),
        ([(1.5, 0.004), (1.02, 0.02)], 1),  # the dense model was slow, however well the repeats agree
        ([(1.5, 0.004), (1.4, 0.02), (1.6, 0.001)], 1),
    ],
)
def test_what_was_disturbed_is_timed_again_and_the_calmer_timing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[float, float]], kept: int
) -> None:
    rows = [{"latency_dense_ms": dense_ms, "latency_spread": spread} for dense_ms, spread in told]
    left, calls = iter(rows), count()

    def scripted(task: Task, folder: TrialFolder, dense: DenseLatency) -> dict[str, float]:
        dense.headline.fastest_ms = 1.0
        return next(left)

    def scripted_whole(task: Task, folder: TrialFolder, dense: DenseLatency) -> dict[str, float]:
        monkeypatch.delattr("bench.trial.evaluate.latencies")
        return scripted(task, folder, dense) | {"latency_eager_ms": next(calls)}

    monkeypatch.setattr("bench.trial.evaluate.latencies", scripted_whole)
    monkeypatch.setattr("bench.trial.evaluate.headline", scripted)  # again for the sake of the headline alone
    setting = Setting("synthetic", "smoke", cache=str(tmp_path / "cache"))
    folder, task = TrialFolder(tmp_path), setting.build_task()
    folder.model_path.write_bytes(export_onnx(task.build_model(), task.example_input()).data)
    assert time_models(setting, [folder], lambda fraction, note: None) == {}
    assert folder.layer_latency_ms()
    assert json.loads((tmp_path / "latency.json").read_text()) == rows[kept] | {"latency_eager_ms": 0}
    assert not list(left)


def test_models_that_differ_by_their_weights_alone_are_timed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task: Task = Points(hidden=8)
    setting: Any = SimpleNamespace(build_task=lambda: task, runtime="onnxruntime", threads=1)
    models = {name: task.build_model() for name in ("one", "other", "half_zero")}
    models["module_missing"] = models["one"]
    models["wider"] = Points(hidden=16).build_model()
    for parameter in models["other"].parameters():
        nn.init.normal_(parameter)
    for parameter in models["half_zero"].parameters():
        parameter.data[: len(parameter) // 2] = 0.0
    folders = {name: TrialFolder(tmp_path / name) for name in models}
    for name, folder in folders.items():
        folder.empty()
        folder.model_path.write_bytes(export_onnx(models[name], task.example_input()).data)
        if name != "module_missing":
            save_module(models["one"], task, folder.path)
    asked = []

    def timed(task: Task, folder: TrialFolder, dense: DenseLatency) -> dict[str, float]:
        asked.append(folder.path.name)
        return {"latency_ms": float(len(asked)), "latency_ratio": 1.0, "latency_dense_ms": 1.0, "latency_spread": 0.0}

    monkeypatch.setattr("bench.trial.evaluate.latencies", timed)
    monkeypatch.setattr("bench.trial.evaluate.headline", timed)
    assert time_models(setting, list(folders.values()), lambda fraction, note: None) == {}
    assert set(asked) == {"one", "half_zero", "module_missing", "wider"}
    assert folders["one"].latencies() == folders["other"].latencies()
    assert folders["one"].layer_latency_ms() == folders["other"].layer_latency_ms()
    assert len({(folder.latencies() or {})["latency_ms"] for folder in folders.values()}) == 4
