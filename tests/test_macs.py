from collections.abc import Callable
from math import ceil

import pytest
import torch
from torch import Tensor, nn

from bench import BenchError
from bench.export.costs import file_costs
from bench.export.model import export_onnx
from bench.widths.cost import count_macs
from tasks.antispoof.resnet import LAYOUTS, Block, ResNet
from tests.models import Branches, Temporal, mlp, randomise_norms


def out_length(length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def resnet_macs(blocks: tuple[int, ...], width: int, bands: int, frames: int, classes: int = 2) -> int:
    """By hand: every stride of two halves both axes, rounding up."""
    bands, frames = ceil(bands / 2), ceil(frames / 2)
    total = 25 * width * bands * frames
    channels = width
    for stage, count in enumerate(blocks):
        wide = width * 2**stage
        if stage:
            bands, frames = ceil(bands / 2), ceil(frames / 2)
            total += channels * wide * bands * frames  # 1x1 convolution on the shortcut
        total += (9 * channels * wide + 9 * wide * wide) * bands * frames
        total += (count - 1) * 2 * 9 * wide * wide * bands * frames
        channels = wide
    return total + 2 * channels * classes


class Op(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "bias"),
    [(1, 0, 1, 1, True), (2, 1, 1, 1, False), (3, 4, 2, 1, True), (1, 1, 1, 6, True), (2, 2, 1, 3, False)],
)
def test_conv1d(stride: int, padding: int, dilation: int, groups: int, bias: bool) -> None:
    layer = nn.Conv1d(6, 12, 5, stride, padding, dilation, groups, bias)
    expected = out_length(50, 5, stride, padding, dilation) * 12 * (6 // groups) * 5
    assert count_macs(layer, torch.zeros(1, 6, 50)) == expected


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        ((3, 3), (1, 1), (1, 1), (1, 1), 1),
        ((3, 5), (2, 1), (0, 2), (1, 2), 1),
        ((1, 1), (2, 2), (0, 0), (1, 1), 1),
        ((3, 3), (1, 2), (2, 1), (2, 1), 4),
        ((5, 3), (1, 1), (2, 1), (1, 1), 2),
    ],
)
def test_conv2d(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], groups: int
) -> None:
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups)
    sizes = zip((20, 31), kernel, stride, padding, dilation, strict=True)
    high, wide = (out_length(*axis) for axis in sizes)
    assert count_macs(layer, torch.zeros(1, 4, 20, 31)) == high * wide * 8 * (4 // groups) * kernel[0] * kernel[1]


def test_a_depthwise_convolution_reads_one_channel_for_each_output() -> None:
    assert count_macs(nn.Conv2d(16, 16, 3, padding=1, groups=16), torch.zeros(1, 16, 10, 7)) == 10 * 7 * 16 * 9


@pytest.mark.parametrize("bias", [True, False])
def test_linear_on_vectors_and_on_sequences(bias: bool) -> None:
    layer = nn.Linear(7, 11, bias)
    assert count_macs(layer, torch.zeros(1, 7)) == 77
    assert count_macs(layer, torch.zeros(1, 13, 7)) == 13 * 77
    assert count_macs(layer, torch.zeros(4, 13, 7)) == 4 * 13 * 77


def test_a_residual_block() -> None:
    x = torch.zeros(1, 8, 12, 10)
    assert count_macs(Block(8, 8, 1), x) == 120 * 2 * 9 * 64
    assert count_macs(Block(8, 16, 2), x) == 30 * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)


@pytest.mark.parametrize(
    ("name", "width", "bands", "frames"), [("resnet10", 8, 60, 101), ("resnet18", 5, 33, 64), ("resnet34", 4, 60, 50)]
)
def test_a_resnet(name: str, width: int, bands: int, frames: int) -> None:
    expected = resnet_macs(LAYOUTS[name].blocks, width, bands, frames)
    assert count_macs(ResNet(LAYOUTS[name], width), torch.zeros(1, bands, frames)) == expected


def test_multihead_attention() -> None:
    model = nn.MultiheadAttention(12, 3, batch_first=True)
    products = 4 * 11 * 12 * 12 + 2 * 11 * 11 * 12  # projections, then queries x keys and weights x values
    assert count_macs(Op(lambda x: model.eval()(x, x, x)[0]), torch.zeros(1, 11, 12)) == products


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_layer(training: bool) -> None:
    model = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).train(training)
    products = 4 * 11 * 12 * 12 + 2 * 11 * 11 * 12 + 2 * 11 * 12 * 20
    assert count_macs(model, torch.zeros(1, 11, 12)) == products
    assert model.training is training


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (torch.fft.rfft, "_fft_r2c"),
        (lambda x: torch.cdist(x, x), "_cdist_forward"),
        (lambda x: torch.linalg.inv(x @ x.mT), "linalg_inv"),
    ],
)
def test_an_operator_of_unknown_cost_is_named(function: Callable[[Tensor], Tensor], operator: str) -> None:
    with pytest.raises(BenchError, match=operator):
        count_macs(Op(function), torch.randn(1, 4, 16))


def test_functional_products_count() -> None:
    x = torch.zeros(1, 5, 16)
    assert count_macs(Op(lambda x: x @ x.mT), x) == 5 * 5 * 16
    assert count_macs(Op(lambda x: torch.einsum("bij,bkj->bik", x, x)), x) == 5 * 5 * 16


def test_every_module_keeps_its_mode() -> None:
    model = Temporal().train()
    model.stem_norm.eval()  # frozen statistics in a network that trains
    modes = {name: module.training for name, module in model.named_modules()}
    count_macs(model, torch.zeros(1, 4, 20))
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_statistics_stay_as_they_are_and_an_error_leaves_no_trace() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), Op(torch.fft.rfft)).train()
    with pytest.raises(BenchError):
        count_macs(model, torch.randn(3, 4, 16))
    assert model.training
    assert torch.equal(model[0].running_mean, torch.zeros(4))


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
