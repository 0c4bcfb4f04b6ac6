"""A model that the width graph cannot follow runs with every method that needs no widths; the others decline."""

import pytest
import torch
from torch import Tensor, nn

from bench import Declined, Trainer, Widths
from bench.check import Probe
from bench.errors import BenchError
from bench.export.model import OnnxModel, export_onnx
from bench.plugins.registry import load_method
from bench.widths.cost import count_by_weight, count_macs
from tests.architectures import ARCHITECTURES

PLAN = Probe.presets["smoke"]


class Sorting(nn.Module):
    """Sorts its features, which ties no channel to any place: (B, 8, T) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.norm, self.middle = nn.Conv1d(8, 12, 3), nn.BatchNorm1d(12), nn.Conv1d(12, 12, 3)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.topk(self.norm(self.front(x)).relu(), 12, 1).values
        return self.head(self.middle(y).relu().mean(2))


def trained(method: str) -> nn.Module | OnnxModel:
    torch.manual_seed(0)
    model, example = Sorting(), Probe().example_input()
    trainer = Trainer(Probe(), PLAN, steps=8, seed=0, dense_macs=count_macs(model, example))
    return load_method(method)().compress(model, trainer)


def test_the_graph_says_so() -> None:
    with pytest.raises(BenchError, match=r"operator topk \(in layer Sorting\); use a method that needs no widths"):
        Widths(Sorting(), Probe().example_input())


def test_costs_are_known_without_widths() -> None:
    model, example = Sorting(), Probe().example_input()
    widths = Widths(model, example, strict=False)
    assert widths.macs({}) == widths.reference_macs == sum(widths.weight_macs.values()) == count_macs(model, example)
    assert set(widths.weight_macs) == {"front.weight", "middle.weight", "head.weight"}


@pytest.mark.parametrize("kind", ["gru", "transformer", "grouped"])
def test_weights_cost_what_the_graph_says(kind: str) -> None:
    build, shape, _ = ARCHITECTURES[kind]
    model = build()
    by_weight = Widths(model, torch.zeros(shape)).weight_macs
    counted = count_by_weight(model, torch.zeros(shape))
    counted.pop("", None)
    assert sum(counted.values()) == sum(by_weight.values())
    assert counted == by_weight


METHODS = ["unstructured_pruning", "nm_pruning", "gradual_pruning", "rigl", "low_rank", "quantization"]


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_need_no_widths_run(method: str) -> None:
    result = trained(method)
    if isinstance(result, nn.Module):
        export_onnx(result, Probe().example_input())


@pytest.mark.parametrize("method", ["magnitude_pruning", "random_pruning", "uniform_width", "feature_noise"])
def test_the_others_decline_and_name_the_operator(method: str) -> None:
    with pytest.raises(Declined, match="operator topk"):
        trained(method)
