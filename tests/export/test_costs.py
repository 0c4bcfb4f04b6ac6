"""What the exported file costs."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from bench import BenchError
from bench.export.costs import file_costs
from bench.export.model import OPSET, OnnxModel, export_onnx
from bench.widths.cost import count_macs
from tasks.antispoof.resnet import LAYOUTS, ResNet
from tests.export.test_model import built
from tests.models import Branches, Temporal, mlp, randomise_norms
from tests.widths.test_cost import Op, resnet_macs

MODELS = {
    "branches": (Branches, (1, 2, 8, 6)),
    "temporal": (Temporal, (1, 4, 33)),
    "mlp": (mlp, (1, 6)),
    "linear on sequences": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), (1, 9, 6)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1)), (1, 4, 9, 9)),
    "resnet10": (lambda: ResNet(LAYOUTS["resnet10"], 8), (1, 60, 80)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_file_costs_what_the_model_costs(name: str) -> None:
    build, shape = MODELS[name]
    model = randomise_norms(build())
    exported = export_onnx(model, torch.zeros(shape))
    costs = file_costs(exported, shape)
    assert costs.macs == count_macs(model, torch.zeros(shape))
    assert costs.effective_macs == costs.macs
    assert costs.bops == costs.macs * 1024
    assert costs.size_bytes == len(exported.data)


class Filterbank(nn.Module):
    """A fixed matrix to the left of the features: (B, 4, T) -> (B, T, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.rand(3, 4))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.bank @ x).transpose(1, 2))


class Correlation(nn.Module):
    """A product of the input with itself: (B, 4, T) -> (B, 4, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x @ x.transpose(1, 2))


@pytest.mark.parametrize(
    ("model", "macs"), [(Filterbank(), 3 * 4 * 16 + 16 * 3 * 2), (Correlation(), 16 * 16 + 4 * 4 * 2)]
)
def test_products_that_are_no_layer_cost_the_same_in_the_file(model: nn.Module, macs: int) -> None:
    x = torch.zeros(1, 4, 16)
    assert count_macs(model, x) == macs
    assert file_costs(export_onnx(model, x), (1, 4, 16)).macs == macs


def test_the_length_of_the_input_decides_the_cost_not_the_one_that_was_exported() -> None:
    model = randomise_norms(ResNet(LAYOUTS["resnet10"], 4))
    exported = export_onnx(model, torch.zeros(1, 60, 80))
    for frames in (40, 201):
        assert file_costs(exported, (1, 60, frames)).macs == resnet_macs((1, 1, 1, 1), 4, 60, frames)


def test_zeros_lower_the_effective_macs_layer_by_layer() -> None:
    model = randomise_norms(Temporal())
    with torch.no_grad():
        model.stem.weight.view(-1)[:120] = 0  # of 160
        model.outer.weight.view(-1)[:20] = 0  # of 80
        model.frames.weight.view(-1)[:36] = 0  # of 48
    steps = 20  # of 40, behind the stride
    layers = {"stem": 4 * 8 * 5, "inner": 8 * 10 * 3, "outer": 80, "frames": 48}
    zeros = {"stem": 120, "outer": 20, "frames": 36}
    costs = file_costs(export_onnx(model, torch.zeros(1, 4, 40)), (1, 4, 40))
    assert costs.macs == steps * sum(layers.values()) + 12
    assert costs.effective_macs == costs.macs - steps * sum(zeros.values())
    assert costs.bops == costs.macs * 1024  # the runtime multiplies by the zeros as well


def test_params_count_weights_and_biases_with_batch_norm_folded() -> None:
    model = randomise_norms(Branches())
    expected = sum(m.weight.numel() + len(m.weight) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    assert file_costs(export_onnx(model, torch.zeros(1, 2, 8, 6)), (1, 2, 8, 6)).params == expected
    resnet = randomise_norms(ResNet(LAYOUTS["resnet10"], 4))
    weights = sum(m.weight.numel() + len(m.weight) for m in resnet.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    assert file_costs(export_onnx(resnet, torch.zeros(1, 60, 80)), (1, 60, 80)).params == weights


def test_an_operator_of_the_file_that_has_no_formula_is_named() -> None:
    exported = export_onnx(Op(lambda x: torch.linalg.det(x @ x.transpose(1, 2))), torch.zeros(1, 4, 6))
    with pytest.raises(BenchError, match="'Det'"):
        file_costs(exported, (1, 4, 6))


def test_zeros_in_a_recurrent_layer_lower_the_effective_macs() -> None:
    model, _, macs = built("crnn")
    with torch.no_grad():
        model.rnn.weight_ih_l0[:, :3] = 0
        model.rnn.weight_hh_l1.view(-1)[:100] = 0
    costs = file_costs(export_onnx(model, torch.zeros(1, 4, 40)), (1, 4, 40))
    assert costs.macs == macs(40)
    assert costs.effective_macs == macs(40) - 20 * (3 * 36 + 100)
    assert costs.bops == macs(40) * 1024


@pytest.mark.parametrize(
    ("equation", "macs"), [("bit,bjt->bij", 4 * 4 * 9), ("bit,bit->bi", 4 * 9), ("bit,bit->bit", 0), ("bit->bti", 0)]
)
def test_einsum(equation: str, macs: int) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum(equation, *[x] * (1 + equation.count(",")))

    assert count_macs(Model(), torch.zeros(1, 4, 9)) == macs
    assert file_costs(export_onnx(Model(), torch.zeros(1, 4, 5)), (1, 4, 9)).macs == macs


def in_integers(*nodes: onnx.NodeProto, weight: NDArray[np.uint8], zero: NDArray[np.uint8]) -> OnnxModel:
    """(1, 4) -> (1, 4), by a weight with zero points of its own for each output."""
    numbers = {"weight": weight, "zero": zero, "scale": np.ones(len(zero), np.float32)}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in ("input", "output")]
    stored = [numpy_helper.from_array(values, name) for name, values in numbers.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return OnnxModel(model.SerializeToString())


INTEGER_PRODUCTS = {
    "integers": (
        helper.make_node("DynamicQuantizeLinear", ["input"], ["x", "x_scale", "x_zero"]),
        helper.make_node("MatMulInteger", ["x", "weight", "x_zero", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["output"], to=TensorProto.FLOAT),
    ),
    "columns": (
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"], axis=1),
        helper.make_node("MatMul", ["input", "w"], ["output"]),
    ),
    "rows": (
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Gemm", ["input", "w"], ["output"], transB=1),
    ),
}


@pytest.mark.parametrize("name", INTEGER_PRODUCTS)
def test_a_weight_is_zero_where_it_is_the_zero_point_of_its_output(name: str) -> None:
    zero = np.array([1, 20, 30, 40], np.uint8)
    weight = np.tile(zero, (4, 1))
    weight[[0, 1, 3], [2, 2, 0]] = 7
    model = in_integers(*INTEGER_PRODUCTS[name], weight=weight.T if name == "rows" else weight, zero=zero)
    costs = file_costs(model, (1, 4))
    assert (costs.macs, costs.effective_macs) == (16, 3)


def test_an_einsum_of_unknown_cost_is_named() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bit,bjt,bkt->bijk", x, x, x)

    with pytest.raises(BenchError, match="bit,bjt,bkt->bijk"):
        file_costs(export_onnx(Model(), torch.zeros(1, 4, 5)), (1, 4, 5))
