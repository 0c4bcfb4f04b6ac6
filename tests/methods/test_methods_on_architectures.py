"""Every method that removes structure, on networks of every kind, most of them written by others.

By default each method is tried on a recurrent, an attentive and a convolutional network, each network by several
methods; the slow tests try all pairs.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from bench import Batch, BudgetError, Metric, Plan, Predict, Split, Task, Trainer
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from bench.plugins.registry import load_method, names
from bench.widths.cost import count_macs
from tests.architectures import ARCHITECTURES

#: given widths are those of another method's model, whatever the budget
BUDGETED = [n for n in names("methods") if hasattr(load_method(n), "budget") and not load_method(n).follows]
#: Torch-Pruning's own graph does not follow all of these; layers of low rank have budgets of their own, in
#: ``test_low_rank.py``; the others ask the width graph for nothing that magnitude pruning does not ask for
LEFT_OUT = ("torch_pruning", "low_rank", "nested_subspaces", "random_pruning", "lottery_ticket")
STRUCTURED = [n for n in BUDGETED if load_method(n).promises in ("structure", "front") and n not in LEFT_OUT]
#: those that read activations or gradients; other masks differ in when they are set
MASKED = {"budgeted_broadcast": {"side": "both", "rescale": True}, "rigl": {"updates": 2}}

#: feature noise leaves the hidden state of a recurrence whole: the budget that it can still reach, if any
LEAST = {"gru": 0.5, "gru both ways": None, "lstm both ways": None, "torchaudio DeepSpeech": 0.5}


def pairs(methods: Collection[str]) -> list[Any]:
    """All pairs with an architecture. Those on a diagonal are not slow, nor is what the width graph alone decides."""
    found = []
    for (row, architecture), (column, method) in product(enumerate(ARCHITECTURES), enumerate(methods)):
        of_its_own = method == "magnitude_pruning" or (method == "feature_noise" and architecture in LEAST)
        marks = [] if row % 4 == column % 4 or of_its_own else [pytest.mark.slow]
        found.append(pytest.param(architecture, method, marks=marks))
    return found


@dataclass(frozen=True)
class Noise(Task):
    """Random inputs, random targets: only that training runs matters here."""

    metric: ClassVar = Metric("error", unit="mse", direction="minimize")
    presets: ClassVar = {"smoke": Plan(dense_steps=4, finetune_steps=2, batch_size=4, learning_rate=1e-3)}

    architecture: str = "gru"

    def build_model(self) -> nn.Module:
        return ARCHITECTURES[self.architecture][0]()

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            x = torch.randn(self.batch_size, *self.example_input().shape[1:], generator=generator)
            yield Batch(x, torch.randn(self.batch_size, generator=generator))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (model(batch.inputs).flatten(1).mean(1) - batch.targets).square().mean()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        raise AssertionError("not scored here")

    def example_input(self) -> Tensor:
        return torch.zeros(ARCHITECTURES[self.architecture][1])


class NoiseInBands(Noise):
    """The same, whose inputs may be narrowed."""

    input_width_axis = 1


def begun(architecture: str) -> tuple[Task, nn.Module, Trainer, int]:
    """A task, its fresh model, a trainer, and the MACs of the model."""
    torch.manual_seed(1)
    task = (Noise if ARCHITECTURES[architecture][2] is None else NoiseInBands)(architecture=architecture, batch_size=4)
    model, plan = task.build_model(), task.presets["smoke"]
    dense_macs = count_macs(model, task.example_input())
    return task, model, Trainer(task, plan, steps=plan.total_steps, seed=0, dense_macs=dense_macs), dense_macs


@pytest.mark.parametrize(("architecture", "method"), pairs(MASKED))
def test_masks_are_worth_their_budget_on_any_architecture(architecture: str, method: str) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    settings = MASKED[method]
    result = load_method(method)(budget=0.6, **settings).compress(model, trainer)  # type: ignore[arg-type]
    assert isinstance(result, nn.Module) and trainer.steps_left == 0
    exported = export_onnx(result, task.example_input())
    costs = file_costs(exported, tuple(task.example_input().shape))
    assert costs.macs == dense_macs
    assert 0.55 * dense_macs <= costs.effective_macs <= 0.6 * dense_macs


@pytest.mark.parametrize(("architecture", "method"), pairs(STRUCTURED))
def test_a_structured_method_delivers_on_any_architecture(architecture: str, method: str) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    budget: float | None = 0.25
    if method == "feature_noise" and architecture in LEAST:
        with pytest.raises(BudgetError, match=r"hidden states.*whole.*can reach has 0\.\d+ of the dense compute"):
            load_method(method)(budget=budget).compress(model, trainer)
        budget = LEAST[architecture]
    if budget is None:
        return
    result = load_method(method)(budget=budget).compress(model, trainer)
    assert isinstance(result, nn.Module)
    assert trainer.steps_left == 0
    exported = export_onnx(result, task.example_input())
    macs = count_macs(result, task.example_input())
    assert macs == file_costs(exported, tuple(task.example_input().shape)).macs
    assert 0.8 * budget * dense_macs <= macs <= budget * dense_macs
    x = next(task.batches("dev", 3)).inputs
    with torch.no_grad():
        expected = result(x)
    torch.testing.assert_close(Predictor(exported)(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
