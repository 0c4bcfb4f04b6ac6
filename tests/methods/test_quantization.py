"""Models in 8-bit integers: what is quantized in which way, how close the result is, and what it costs."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch import Tensor, nn

from bench import Batch
from bench.check import check_plugin
from bench.export.costs import file_costs
from bench.export.memory import _fused
from bench.export.model import OnnxModel, Predictor, export_onnx
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs
from methods import _integer
from methods._integer import CALIBRATIONS, Ranges, _Calibration, _converted, quantized
from methods.quantization import Quantization
from methods.quantization_aware import QuantizationAware
from tests.export.test_model import AttentionBlock, Crnn, Encoder, Grouped, OneLayerAtATime, Recurrent
from tests.models import Points
from tests.widths.test_volumes import NETS, SHAPE


@pytest.fixture(autouse=True)
def few_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks of these tests are narrow; what is left in floats is tested in ``test_in_floats.py``."""
    monkeypatch.setattr(_integer, "FEWEST_READ", 4)


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.Flatten(2))


class ConvLstm(nn.Module):
    """(B, 4, T) -> (B, T, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.rnn = nn.LSTM(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.conv(x).relu().transpose(1, 2))[0])


class Positioned(nn.Module):
    """A table of positions, cut to the length of what it is added to: (B, 4, T) -> (B, T', 3)."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, stride=2)
        self.register_buffer("table", torch.randn(50, 8), persistent=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).transpose(1, 2)
        return self.head((y + self.table[: y.shape[1]]).relu())


def batches(features: int, count: int = 4) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield Batch(torch.randn(8, features, 30, generator=generator), torch.zeros(8))


def pair(build: Callable[[], nn.Module], features: int) -> tuple[OnnxModel, OnnxModel, list[str]]:
    """The model in floating point, in integers, and what was said."""
    torch.manual_seed(0)
    exported = export_onnx(build().eval(), torch.zeros(1, features, 30))
    notes: list[str] = []
    return exported, quantized(exported, batches(features), notes.append), notes


def operators(model: OnnxModel) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model.data).graph.node)


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "convolutions": (conv_net, 4),
    "grouped": (Grouped, 4),
    "crnn": (Crnn, 4),
    "crnn-both": (lambda: Crnn(bidirectional=True, bias=False), 4),
    "gru-split": (OneLayerAtATime, 4),
    "rnn": (lambda: Recurrent(nn.RNN, 4, 6, 2, bidirectional=True), 4),
    "lstm": (ConvLstm, 4),
    "block": (AttentionBlock, 12),
    "encoder": (lambda: Encoder(2), 12),
    "positioned": (Positioned, 4),
}


@pytest.mark.parametrize("name", MODELS)
def test_integers_agree_with_floats_at_any_batch_and_length(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    exported, integer, _ = pair(*MODELS[name])
    for batch, frames in ((1, 30), (5, 47)):
        x = torch.randn(batch, MODELS[name][1], frames, generator=torch.Generator().manual_seed(2))
        expected, found = Predictor(exported)(x), Predictor(integer)(x)
        assert found.shape == expected.shape
        assert float((found - expected).norm() / expected.norm()) < 0.05
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_no_calibration_says_anything(calibration: str, capfd: pytest.CaptureFixture[str]) -> None:
    exported = export_onnx(conv_net().eval(), torch.zeros(1, 4, 30))
    quantized(exported, batches(4), lambda text: None, Ranges(calibration))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", MODELS)
def test_as_many_macs_as_in_floats(name: str) -> None:
    exported, integer, _ = pair(*MODELS[name])
    shape = (1, MODELS[name][1], 40)
    costs, dense = file_costs(integer, shape), file_costs(exported, shape)
    assert costs.macs == dense.macs
    assert 0.9 * dense.macs < costs.effective_macs <= dense.macs  # some weights are rounded to zero
    assert costs.bops < dense.bops


@pytest.mark.parametrize("name", ["crnn", "crnn-both", "rnn", "lstm", "encoder", "convolutions"])
def test_scales_and_zero_points_are_no_parameters(name: str) -> None:
    torch.manual_seed(0)
    build, features = MODELS[name]
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # equal ones would be stored once
            parameter.copy_(torch.rand_like(parameter) * 0.4 - 0.2001)
    exported = export_onnx(model, torch.zeros(1, features, 30))
    integer = quantized(exported, batches(features), lambda text: None)
    shape = (1, features, 30)
    assert file_costs(integer, shape).params == file_costs(exported, shape).params


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    """One loud recording used to change what the others of its batch got by up to a twentieth."""
    _, integer, _ = pair(*MODELS[name])
    x = torch.randn(4, MODELS[name][1], 30, generator=torch.Generator().manual_seed(2))
    x[0] *= 100
    predict = Predictor(integer)
    torch.testing.assert_close(predict(x), torch.cat([predict(one) for one in x.split(1)]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_ranges_are_found_in_different_ways(calibration: str, per_channel: bool) -> None:
    torch.manual_seed(0)
    exported = export_onnx(conv_net().eval(), torch.zeros(1, 4, 30))
    integer = quantized(exported, batches(4), lambda text: None, Ranges(calibration, per_channel))
    scales = {tuple(t.dims) for t in onnx.load_from_string(integer.data).graph.initializer if "weight_scale" in t.name}
    assert scales == ({(8,)} if per_channel else {()})
    x = torch.randn(3, 4, 30, generator=torch.Generator().manual_seed(2))
    expected = Predictor(exported)(x)
    assert float((Predictor(integer)(x) - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize(
    ("known", "reduced"),
    [
        ({"architecture": "x86_64", "avx512_vnni": True}, False),
        ({"architecture": "x86_64", "avx_vnni": True}, False),
        ({"architecture": "x86_64", "avx2": True, "avx512_vnni": False}, True),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_weights_have_seven_bits_where_sums_would_overflow(
    known: dict[str, Any], reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    for name in ("convolutions", "encoder"):
        _, integer, notes = pair(*MODELS[name])
        stored = [numpy_helper.to_array(t) for t in onnx.load_from_string(integer.data).graph.initializer]
        largest = max(
            int(abs(weight.astype(int)).max()) for weight in stored if weight.dtype == "int8" and weight.ndim > 1
        )
        assert largest <= 64 if reduced else largest > 100
        assert any("7 bits" in note for note in notes) == reduced


def test_a_convolutional_network_is_static_throughout() -> None:
    _, integer, notes = pair(*MODELS["convolutions"])
    assert "DynamicQuantizeLinear" not in operators(integer) and operators(integer)["QuantizeLinear"] > 0
    costs = file_costs(integer, (1, 4, 30))
    assert costs.bops == 64 * costs.macs
    assert notes == []


def test_each_layer_of_a_crnn_has_its_own_bits() -> None:
    _, integer, notes = pair(Crnn, 4)
    costs = file_costs(integer, (1, 4, 40))
    conv, recurrent, head = (20 * each for each in (4 * 8 * 5, 3 * 12 * (8 + 12 + 12 + 12), 12 * 3))
    assert costs.bops == conv * 64 + recurrent * 8 * 32 + head * 64
    assert operators(integer)["GRU"] == 2 and operators(integer)["MatMulInteger"] == 1
    assert len(notes) == 1 and "not faster" in notes[0]


class Sound(Points):
    """Points as signals of one channel."""

    def build_model(self) -> nn.Module:
        return SoundNet()


class SoundNet(nn.Module):
    """(B, 6) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        first, depthwise = nn.Conv1d(1, 8, 3, padding=1), nn.Conv1d(8, 8, 3, groups=8, padding=1)
        self.features = nn.Sequential(first, nn.ReLU(), depthwise, nn.ReLU(), nn.Conv1d(8, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x[:, None]).mean(2))


@pytest.mark.parametrize("aware", [False, True])
def test_a_convolution_of_few_channels_stays_in_floats(aware: bool) -> None:
    """Copying its patches takes longer than an integer product saves; a depthwise one has a kernel of its own."""
    task, said = Sound(), list[str]()
    trainer = Trainer(task, task.presets["quick"], steps=4, seed=0, dense_macs=1)
    trainer.note = said.append  # type: ignore[method-assign]
    made = (QuantizationAware() if aware else Quantization()).compress(task.build_model(), trainer)
    graph = onnx.load_from_string(made.data).graph
    kept = {tensor.name: tensor.data_type == onnx.TensorProto.FLOAT for tensor in graph.initializer}
    assert [kept.get(node.input[1], False) for node in graph.node if node.op_type == "Conv"] == [True, False, False]
    assert any("1 convolution(s) that read fewer than 4 channels" in note for note in said)


def test_an_lstm_runs_in_integers() -> None:
    _, integer, notes = pair(ConvLstm, 4)
    costs = file_costs(integer, (1, 4, 30))
    assert operators(integer)["DynamicQuantizeLSTM"] == 1
    assert costs.macs == 30 * (4 * 8 * 3 + 2 * 48 * (8 + 12) + 24 * 3)
    assert costs.bops == 64 * costs.macs
    assert notes == []


def test_products_of_activations_stay_in_floats() -> None:
    _, integer, _ = pair(AttentionBlock, 12)
    costs = file_costs(integer, (1, 12, 30))
    attention = 2 * 30 * 30 * 12
    assert costs.bops == attention * 1024 + (costs.macs - attention) * 64
    assert "QuantizeLinear" not in operators(integer)


def test_a_gru_takes_a_quarter_of_the_bytes() -> None:
    exported, integer, _ = pair(lambda: Recurrent(nn.GRU, 4, 96), 4)
    values = 3 * 96 * (4 + 96)
    assert len(exported.data) - len(integer.data) == pytest.approx(3 * values, rel=0.06)


def test_zeros_stay_zeros() -> None:
    torch.manual_seed(0)
    model = Crnn().eval()
    with torch.no_grad():
        model.rnn.weight_hh_l0[:, :6] = 0
        model.rnn.weight_ih_l1[:5] = 0  # whole rows, whose scale would be zero
    x = torch.zeros(1, 4, 40)
    integer = quantized(export_onnx(model, x), batches(4), lambda text: None)
    assert file_costs(integer, (1, 4, 40)).effective_macs <= count_macs(model, x) - 20 * (36 * 6 + 5 * 12)
    assert torch.isfinite(Predictor(integer)(torch.randn(2, 4, 40))).all()


def test_other_formats_of_onnx_runtime_are_counted() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 1, 3), nn.Flatten(1), nn.Linear(26, 6)).eval()
    exported = export_onnx(model, torch.zeros(1, 4, 30))
    macs = 28 * 8 * 12 + 26 * 24 + 26 * 6

    def convert(function: Callable[..., Any], *args: Any, **options: Any) -> OnnxModel:
        return _converted(exported, lambda source, target: function(source, target, *args, **options))

    operator = convert(
        quantize_static, _Calibration(batches(4)), quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8
    )
    assert {"QLinearConv", "QGemm"} <= {*operators(operator)}
    dynamic = convert(quantize_dynamic, weight_type=QuantType.QUInt8)  # with zero points that are not zero
    assert {"ConvInteger", "MatMulInteger"} <= {*operators(dynamic)}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED

    def fused(source: str, target: str) -> None:
        options.optimized_model_filepath = target
        onnxruntime.InferenceSession(dynamic.data, options)

    merged = _converted(exported, fused)
    assert {*operators(merged)} & {"MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
    for integer in (operator, dynamic, merged):
        costs = file_costs(integer, (1, 4, 30))
        assert (costs.macs, costs.bops) == (macs, 64 * macs)
        assert costs.params == sum(p.numel() for p in model.parameters())
        assert 0.97 * macs < costs.effective_macs <= macs


def test_other_peoples_warnings_are_heard_again_afterwards() -> None:
    pair(conv_net, 4)
    assert logging.getLogger().isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("name", ["quantization", "quantization_aware"])
def test_it_keeps_the_contract(name: str) -> None:
    assert any("same model for the same seed" in line for line in check_plugin(name))


@pytest.mark.parametrize("name", ["transposed", "nearest", "shuffled"])
def test_convolutions_over_volumes_become_integers(name: str) -> None:
    """But for the transposed one, and the first, which reads few channels; skips once confused ONNX Runtime's tool."""
    torch.manual_seed(0)
    exported = export_onnx(NETS[name](), torch.zeros(SHAPE))
    draws = [torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    integer = quantized(exported, (Batch(x, x) for x in draws), lambda text: None)
    fused = Counter(node.op_type for node in _fused(integer).graph.node)
    transposed = name == "transposed"
    assert (fused["QLinearConv"], fused["Conv"], fused["ConvTranspose"]) == (4 - transposed, 1, transposed)
    expected, found = Predictor(exported)(draws[0]), Predictor(integer)(draws[0])
    assert float((found - expected).norm() / expected.norm()) < 0.1
    assert file_costs(integer, SHAPE).macs == file_costs(exported, SHAPE).macs
