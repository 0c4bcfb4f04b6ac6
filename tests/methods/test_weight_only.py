"""Linear layers with weights of 4 or 8 bits: what the file computes, what it costs, and how GPTQ rounds."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bench import Batch, BenchError, Declined
from bench.check import check_method
from bench.export.costs import file_costs
from bench.export.model import OnnxModel, Predictor, export_onnx
from bench.plugins.registry import load_method_spec
from methods._blocks import Blocks, in_blocks
from methods._reconstruction import gptq
from methods.weight_only import WeightOnly
from tests.export.test_model import AttentionBlock, Crnn, Encoder
from tests.methods.test_quantization import batches


class Wide(nn.Module):
    """A Transformer of three layers on 80 features, whose weights are most of its file: (B, 80, T) -> (B, T, 80)."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(80, 4, 320, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x.transpose(1, 2))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """Linear layers on a matrix, which are exported as Gemm: (B, 12, T) -> (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 50), nn.ReLU(), nn.Linear(50, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.mean(2))  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "block": (AttentionBlock, 12),
    "encoder": (lambda: Encoder(2), 12),
    "crnn": (Crnn, 4),
    "pooled": (Pooled, 12),
    "wide": (Wide, 80),
}


def exported(name: str) -> OnnxModel:
    torch.manual_seed(0)
    build, features = MODELS[name]
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # equal ones would be stored once
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return export_onnx(model, torch.zeros(1, features, 30))


def dequantized(model: OnnxModel) -> OnnxModel:
    """The same file with floats in place of the integers, by the definition of the operator."""
    loaded = onnx.load_from_string(model.data)
    stored = {t.name: numpy_helper.to_array(t) for t in loaded.graph.initializer}
    for node in loaded.graph.node:
        if node.op_type == "MatMulNBits":
            size = {a.name: a.i for a in node.attribute}
            weight = np.zeros((size["K"], size["N"]), np.float32)
            data, scales, zeros = (stored[name] for name in node.input[1:])
            for k, n in np.ndindex(*weight.shape):
                block, place = divmod(k, size["block_size"])
                integer, zero = (
                    (nibble(data[n, block], place), nibble(zeros[n], block))
                    if size["bits"] == 4
                    else (data[n, block, place], zeros[n, block])
                )
                weight[k, n] = scales[n, block] * (float(integer) - float(zero))
            loaded.graph.initializer.append(numpy_helper.from_array(weight, f"{node.output[0]}_floats"))
            inputs = [node.input[0], f"{node.output[0]}_floats"]
            node.CopyFrom(onnx.helper.make_node("MatMul", inputs, [*node.output]))
    return OnnxModel(loaded.SerializeToString())


def nibble(packed: Any, place: int) -> int:
    return int(packed[place // 2]) >> (4 * (place % 2)) & 15


def operators(model: OnnxModel) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model.data).graph.node)


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("name", ["block", "encoder", "crnn", "pooled"])
def test_the_file_computes_with_its_integers(name: str, bits: int, size: int, rounding: str) -> None:
    features = MODELS[name][1]
    read = batches(features, 2 if rounding == "gptq" else 0)
    integer = in_blocks(exported(name), bits, size, read)
    x = torch.randn(3, features, 37, generator=torch.Generator().manual_seed(2))
    expected, floats = Predictor(dequantized(integer))(x), Predictor(exported(name))(x)
    torch.testing.assert_close(Predictor(integer)(x), expected, rtol=1e-4, atol=1e-5)
    error = float((expected - floats).norm() / floats.norm())
    assert 1e-5 < error < (0.2 if bits == 4 else 0.02)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_of_the_floats_but_for_the_bits(name: str, bits: int) -> None:
    floats, shape = exported(name), (1, MODELS[name][1], 40)
    dense, costs = file_costs(floats, shape), file_costs(in_blocks(floats, bits, 32), shape)
    assert (costs.macs, costs.params) == (dense.macs, dense.params)
    assert 0.6 * dense.macs < costs.effective_macs <= dense.macs
    linear = linear_macs(floats, shape)
    assert 0 < linear <= dense.macs
    assert costs.bops == (dense.macs - linear) * 1024 + linear * bits * 32


def linear_macs(model: OnnxModel, shape: tuple[int, ...]) -> int:
    """MACs of products with a stored matrix: those that are gone when the matrices have no columns that count."""
    loaded = onnx.load_from_string(model.data)
    read = {node.input[1] for node in loaded.graph.node if node.op_type in ("MatMul", "Gemm")}
    for tensor in loaded.graph.initializer:
        if tensor.name in read:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    costs = file_costs(OnnxModel(loaded.SerializeToString()), shape)
    return costs.macs - costs.effective_macs


def test_zeros_of_the_weight_are_counted_wherever_blocks_have_their_zero() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 6)
    with torch.no_grad():
        layer.weight[:, :20] = 0  # at the lower end of a block's range, in it, and at the upper end
        layer.weight[:2].abs_()
        layer.weight[2:4].abs_().neg_()
    model = export_onnx(nn.Sequential(nn.Flatten(), layer), torch.zeros(1, 4, 10))
    for bits in (4, 8):
        integer = in_blocks(model, bits, 16)
        weight = onnx.load_from_string(dequantized(integer).data).graph.initializer[-1]
        nonzero = int(np.count_nonzero(numpy_helper.to_array(weight)))
        assert nonzero <= 120
        assert file_costs(integer, (1, 4, 10)).effective_macs == nonzero


def test_a_wide_transformer_takes_less_than_a_quarter_of_the_bytes() -> None:
    floats = exported("wide")
    shares = {bits: len(in_blocks(floats, bits, 32).data) / len(floats.data) for bits in (4, 8)}
    assert shares[4] <= 0.25 and shares[4] < shares[8] < 0.4


def test_products_of_activations_and_other_layers_stay_as_they_are() -> None:
    before, after = operators(exported("block")), operators(in_blocks(exported("block"), 4, 32))
    assert after["MatMul"] == 2 and after["MatMulNBits"] == before["MatMul"] + before["Gemm"] - 2
    assert operators(in_blocks(exported("crnn"), 4, 32))["GRU"] == 2


def test_it_declines_a_network_without_linear_layers() -> None:
    model = export_onnx(nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten()), torch.zeros(1, 4, 30))
    with pytest.raises(Declined, match="no linear layer with a stored weight"):
        in_blocks(model, 4, 32)


def test_other_bits_are_refused() -> None:
    with pytest.raises(BenchError, match="WeightOnly: bits 3 is not one of 4, 8"):
        WeightOnly(bits=3)


def problem(inputs: int, correlated: bool) -> tuple[np.ndarray, np.ndarray]:
    """A weight (inputs, 24), and what it reads, (500, inputs)."""
    draw = np.random.default_rng(0)
    read = draw.normal(size=(500, inputs))
    if correlated:
        read = read @ draw.normal(size=(inputs, inputs)) / inputs**0.5
    return draw.normal(size=(inputs, 24)), read


def output_error(blocks: Blocks, weight: np.ndarray, read: np.ndarray) -> float:
    scales, zeros = blocks.grid(len(weight))
    packed = blocks.integers.reshape(weight.shape[1], -1)
    integers = np.array([[nibble(row, k) for row in packed] for k in range(len(weight))])
    return float(np.square(read @ (scales * (integers - zeros) - weight)).sum())


@pytest.mark.parametrize("inputs", [48, 50])
def test_gptq_computes_better_than_the_nearest(inputs: int) -> None:
    weight, read = problem(inputs, correlated=True)
    nearest = Blocks.of(weight, 4, 16)
    compensated = nearest.rounded(weight, 2 * read.T @ read)
    assert np.array_equal(nearest.scales, compensated.scales)
    assert output_error(compensated, weight, read) < 0.6 * output_error(nearest, weight, read)


@pytest.mark.parametrize("bits", [4, 8])
def test_gptq_without_correlations_is_the_nearest(bits: int) -> None:
    weight = problem(50, correlated=False)[0].astype(np.float32)
    nearest = Blocks.of(weight, bits, 16)
    apart = nearest.rounded(weight, np.diag(np.linspace(1, 5, 50))).integers != nearest.integers
    assert apart.mean() < 0.01  # halves are rounded to even here, and away from zero there


def test_gptq_of_two_inputs_by_hand() -> None:
    """Two inputs that are nearly the same: what the first loses, 0.4, the second takes over, 0.4 + 0.4 to 1."""
    hessian = np.array([[1.0, 0.99], [0.99, 1.0]]) * 100
    ones = np.ones((2, 1))
    integers = gptq(np.array([[2.4], [3.4]]), hessian, ones, 0 * ones, 15)
    assert integers.ravel().tolist() == [2, 4]
    assert gptq(np.array([[2.4], [3.4]]), np.eye(2), ones, 0 * ones, 15).ravel().tolist() == [2, 3]


def test_an_input_that_is_always_silent_does_no_harm() -> None:
    weight, read = problem(48, correlated=True)
    read[:, 5] = 0
    for hessian in (2 * read.T @ read, np.zeros((48, 48))):
        assert Blocks.of(weight, 4, 16).rounded(weight, hessian).integers.any()


def test_gptq_is_fed_what_each_layer_reads() -> None:
    """Outputs on the calibration data are nearer to those of floats than with rounding to the nearest."""
    floats, draw = exported("pooled"), torch.Generator().manual_seed(3)
    mixing = torch.randn(12, 12, generator=draw)
    given = [Batch(torch.einsum("ij,bjt->bit", mixing, torch.randn(64, 12, 3, generator=draw)), torch.zeros(64))]
    expected = Predictor(floats)(given[0].inputs)
    errors = [
        float((Predictor(in_blocks(floats, 4, 16, read))(given[0].inputs) - expected).norm()) for read in ([], given)
    ]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_it_keeps_the_contract(rounding: str) -> None:
    lines = [*check_method(load_method_spec(f"weight_only:rounding={rounding}"))]
    assert any("same model for the same seed" in line for line in lines)
