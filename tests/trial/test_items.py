"""The scores of single items: of a task, and beside every model that a comparison read on eval."""

import numpy as np
import pandas as pd
import pytest
import torch

from bench.trial.record import TrialFolder
from tasks.synthetic import Synthetic
from tests.conftest import SmokeRun


def squared_errors(task: Synthetic, model: torch.nn.Module) -> torch.Tensor:
    """(items, outputs)."""
    with torch.no_grad():
        return torch.cat([(model(b.inputs) - b.targets).double().square() for b in task.batches("eval", 0)])


@pytest.mark.parametrize("problem", ["linear", "allocation"])
def test_items_of_the_synthetic_task_sum_up_to_its_scores(problem: str) -> None:
    task = Synthetic(problem=problem, scored=512)
    model = task.build_model()
    with torch.no_grad():
        items, scores = task.item_scores(model, "eval"), task.evaluate(model, "eval")
    assert task.summary(items, "eval") == scores
    assert scores["mse_percent"] == pytest.approx(100 * float(squared_errors(task, model).sum(1).mean()), rel=1e-12)
    assert len(np.unique(items.units)) == 512


def test_items_of_each_branch_sum_up_to_its_score() -> None:
    task = Synthetic(problem="allocation", scored=512)
    model = task.build_model()
    with torch.no_grad():
        scores = task.evaluate(model, "eval")
    parts = squared_errors(task, model).split([branch.sources for branch in task._branches], 1)
    for number, (part, branch) in enumerate(zip(parts, task._branches, strict=True), 1):
        mean = 100 * float(part.sum(1).mean()) / branch.power
        assert scores[f"mse_percent/branch {number}"] == pytest.approx(mean, rel=1e-12)


def test_a_run_leaves_the_items_of_every_model_it_read_on_eval(smoke: SmokeRun) -> None:
    table = pd.read_csv(smoke.folder / "points.csv")
    for key, score in zip(table["key"], table["eval_eer_percent"], strict=True):
        items = TrialFolder.of(smoke.folder, key).item_scores()
        assert items is not None and items.headline == pytest.approx(score, abs=1e-9)
        assert len(np.unique(items.units)) == len(items.scores) == 66
    assert "66 evaluation items" in (smoke.folder / "report.html").read_text()
