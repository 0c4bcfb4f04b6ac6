"""The scores of single items: from the task to the file, without predicting twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bench import Batch, ItemScores, Metric, Plan, Predict, Split, Task
from bench.export.model import export_onnx
from bench.storage.files import read_json
from bench.trial.evaluate import evaluate_model
from bench.trial.record import EVAL, EVAL_ITEMS, MODEL, load_items, save_items, trial_folder
from tasks.synthetic import Synthetic
from tests.conftest import SmokeRun

FILE = "items.npz"


def test_single_precision_is_kept_and_nothing_is_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for scores, kind in ((random.normal(size=500).astype("f4").astype("f8"), "f4"), (random.normal(size=500), "f8")):
        items = ItemScores(scores, random.integers(0, 2, 500), np.arange(500) // 2)
        save_items(tmp_path / FILE, items)
        with np.load(tmp_path / FILE) as file:
            assert file["scores"].dtype == kind
        again = load_items(tmp_path / FILE)
        assert again is not None and again.labels is not None and again.headline == items.headline
        assert np.array_equal(again.scores, items.scores) and np.array_equal(again.units, items.units)
    save_items(tmp_path / FILE, ItemScores(np.ones(3), None, np.arange(3)))
    again = load_items(tmp_path / FILE)
    assert again is not None and again.labels is None and again.headline == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_file_that_is_gone_damaged_or_odd_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / FILE
    assert load_items(path) is None
    save_items(path, ItemScores(np.random.default_rng(0).normal(size=500), None, np.arange(500)))
    whole = path.read_bytes()
    for damaged in (b"", b"no zip", whole[:200], whole[:100] + b"\0" * 50 + whole[150:]):
        path.write_bytes(damaged)
        assert load_items(path) is None
    np.savez(path, scores=np.ones(3), units=np.arange(4))
    assert load_items(path) is None
    np.savez(path, scores=np.array([{}, None], dtype=object), units=np.arange(2))  # a pickle is never opened
    assert load_items(path) is None


@pytest.mark.parametrize("problem", ["linear", "allocation"])
def test_items_of_the_synthetic_task_sum_up_to_its_scores(problem: str) -> None:
    task = Synthetic(problem=problem, scored=512)
    model = task.build_model()
    with torch.no_grad():
        items, scores = task.item_scores(model, "eval"), task.evaluate(model, "eval")
        squares = torch.cat([(model(b.inputs) - b.targets).double().square() for b in task.batches("eval", 0)])
    assert task.summary(items, "eval") == scores
    assert scores["mse_percent"] == pytest.approx(100 * float(squares.sum(1).mean()), rel=1e-12)
    assert len(np.unique(items.units)) == 512
    if problem == "allocation":
        sizes = [branch.sources for branch in task._branches]
        for number, (part, branch) in enumerate(zip(squares.split(sizes, 1), task._branches, strict=True), 1):
            mean = 100 * float(part.sum(1).mean()) / branch.power
            assert scores[f"mse_percent/branch {number}"] == pytest.approx(mean, rel=1e-12)


def test_a_run_leaves_the_items_of_every_model_it_read_on_eval(smoke: SmokeRun) -> None:
    table = pd.read_csv(smoke.folder / "points.csv")
    for key, score in zip(table["key"], table["eval_eer_percent"], strict=True):
        items = load_items(trial_folder(smoke.folder, key) / EVAL_ITEMS)
        assert items is not None and items.headline == pytest.approx(score, abs=1e-9)
        assert len(np.unique(items.units)) == len(items.scores) == 66
    assert "66 evaluation items" in (smoke.folder / "report.html").read_text()


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


@pytest.mark.parametrize("kind", [Plain, Itemised])
def test_eval_is_read_once_with_or_without_items(kind: type[Task], tmp_path: Path) -> None:
    task = kind()
    (tmp_path / MODEL).write_bytes(export_onnx(task.build_model(), task.example_input()).data)
    setting: Any = SimpleNamespace(build_task=lambda: task)
    evaluate_model(setting, tmp_path, lambda fraction, note: None)
    scores, items = read_json(tmp_path / EVAL), load_items(tmp_path / EVAL_ITEMS)
    if kind is Plain:
        assert scores == {"accuracy_percent": 4.0} and items is None
    else:
        assert items is not None and scores == {"accuracy_percent": items.headline}
        assert Itemised.predicted == [1]
