"""What stays in floats when a model becomes integers, since floats are faster there."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from bench import Batch
from bench.export.memory import _fused
from bench.export.model import OnnxModel, Predictor, export_onnx
from methods._integer import FEWEST_READ, narrow, quantized
from methods._rounding import Simulation
from tasks.antispoof import Antispoof


def integers(model: nn.Module, x: Tensor) -> tuple[OnnxModel, OnnxModel]:
    """The model in floats, and with integers."""
    exported = export_onnx(model.eval(), x[:1])
    return exported, quantized(exported, [Batch(x, torch.zeros(len(x)))], lambda text: None)


def kernels(model: OnnxModel) -> Counter[str]:
    """The operators that ONNX Runtime makes of a file."""
    return Counter(node.op_type for node in _fused(model).graph.node)


def scrambled(model: nn.Module) -> nn.Module:
    """No two tensors of it are alike, which a file would store once."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.2).mul_(torch.randn_like(tensor).sign() if tensor.dim() > 1 else 1)
    return model


def chain(*widths: int) -> nn.Module:
    """Convolutions of these widths and a linear layer: (B, widths[0], 20) -> (B, 2)."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Conv1d(*pair, 3, padding=1), nn.ReLU())]
    return scrambled(nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(widths[-1], 2)))


@pytest.mark.parametrize(
    ("widths", "floats"), [((1, 13, 20, 32), 2), ((1, 32, 32), 1), ((20, 8, 24), 0), ((2, 4, 6, 8), 3)]
)
def test_narrow_convolutions_before_any_integer_stay_in_floats(widths: tuple[int, ...], floats: int) -> None:
    """Behind one in integers ONNX Runtime would round their weights by itself, whatever the file says."""
    made, x = chain(*widths), torch.randn(8, widths[0], 20)
    exported, integer = integers(made, x)
    found = kernels(integer)
    assert (found["Conv"] + found["FusedConv"], found["QLinearConv"]) == (floats, len(widths) - 1 - floats)
    assert found["QGemm"] == 1
    torch.testing.assert_close(Predictor(integer)(x), Predictor(exported)(x), atol=0.1, rtol=0.1)
    simulation = Simulation(made, lambda: False, static=True)
    assert len(simulation._weights) == len(widths) - floats  # training rounds what the file does


def test_narrow_ends_at_the_first_other_layer() -> None:
    few = FEWEST_READ - 1.0
    assert [narrow(reads) for reads in ([], [few, few], [few, FEWEST_READ, few], [float("inf"), few])] == [0, 2, 1, 0]


class Residual(nn.Module):
    """Two sums of a convolution and what it reads, before and behind a wide one: (B, 8, 20) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.widen = nn.Conv1d(8, 8, 3, padding=1), nn.Conv1d(8, 32, 3, padding=1)
        self.first, self.wide = nn.Conv1d(32, 32, 3, padding=1), nn.Conv1d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.widen(x + self.narrow(x)).relu()).relu()
        return self.head((y + self.wide(y)).mean(2))


def test_a_sum_becomes_integers_where_its_layers_do() -> None:
    found = kernels(integers(scrambled(Residual()), torch.randn(8, 8, 20))[1])
    assert (found["Add"], found["QLinearAdd"]) == (1, 1)
    assert found["Conv"] + found["FusedConv"] == 2


class Gated(nn.Module):
    """Features times a gate of their own: (B, 16, 20) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.gate = nn.Conv1d(16, 32, 3, padding=1), nn.Conv1d(32, 32, 1)
        self.last, self.head = nn.Conv1d(32, 32, 3), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).relu()
        return self.head(self.last(y * self.gate(y).sigmoid()).relu().mean(2))


class Sloped(nn.Module):
    """A rectifier that lets some through: (B, 16, 20) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(16, 32, 3), nn.LeakyReLU(0.1), nn.Conv1d(32, 32, 3), nn.LeakyReLU(0.1))
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(2))


@pytest.mark.parametrize(
    ("build", "wanted"), [(Gated, {"QLinearSigmoid": 1, "QLinearMul": 1}), (Sloped, {"QLinearLeakyRelu": 2})]
)
def test_what_stands_between_layers_becomes_integers(build: Callable[[], nn.Module], wanted: dict[str, int]) -> None:
    found = kernels(integers(scrambled(build()), torch.randn(8, 16, 20))[1])
    assert {name: found[name] for name in wanted} == wanted
    assert not found["Conv"] + found["FusedConv"]


def test_statistics_of_a_pooling_stay_in_floats() -> None:
    """Each of its operators was between two conversions: a tenth of the time of the default anti-spoofing network."""
    task = Antispoof()
    model, x = scrambled(task.build_model()), torch.randn(4, *task.example_input().shape[1:])
    exported, integer = integers(model, x)
    found = kernels(integer)
    assert found["QLinearConv"] == 4 and found["QGemm"] == 1
    assert not {name for name in found if name.startswith("QLinear")} - {"QLinearConv"}
    assert (found["QuantizeLinear"], found["Sqrt"], found["Sub"], found["Mul"]) == (2, 1, 1, 1)
    torch.testing.assert_close(Predictor(integer)(x), Predictor(exported)(x), atol=0.1, rtol=0.1)
