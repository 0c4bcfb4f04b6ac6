"""Learned step sizes: gradients by hand and as PyTorch has them, where steps begin, and that files keep the grid."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bench.check import Probe, check_method
from bench.export.model import export_onnx
from bench.plugins.registry import load_method_spec
from bench.trial.trainer import Trainer
from methods._integer import Ranges, quantized, steps_held
from methods._rounding import Simulation
from methods._step_sizes import LearnedRange, StepSizes, stepped
from methods.quantization_aware import QuantizationAware
from tests.export.test_model import AttentionBlock, Crnn
from tests.methods.test_quantization import ConvLstm, batches, conv_net, few_channels  # noqa: F401


class LstmAlone(nn.Module):
    """An LSTM whose weights are the first that are quantized: (B, 4, T) -> (B, T, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.transpose(1, 2))[0]  # type: ignore[no-any-return]


def gradients(values: Tensor, step: Tensor, below: float, above: float, weights: Tensor) -> tuple[Tensor, ...]:
    """Of the rounded values times ``weights``, with respect to values and step."""
    values, step = values.clone().requires_grad_(), step.clone().requires_grad_()
    return torch.autograd.grad((stepped(values, step, below, above) * weights).sum(), [values, step])


@pytest.mark.parametrize(("value", "of_value", "of_step"), [(-2.6, 0.0, -4.0), (0.85, 1.0, 0.3), (5.2, 0.0, 7.0)])
def test_gradients_below_inside_and_above(value: float, of_value: float, of_step: float) -> None:
    """Steps of 0.5 from -4 to 7; 0.85 is 1.7 steps, rounded to 2."""
    found = gradients(torch.tensor([value]), torch.tensor([0.5]), 4, 7, torch.ones(1))
    assert [float(gradient) for gradient in found] == pytest.approx([of_value, of_step / 7**0.5], abs=1e-6)


@pytest.mark.parametrize("zero", [0, 100, 128])
def test_values_and_gradients_are_those_of_pytorch(zero: int) -> None:
    """But for the half step beyond each end, which PyTorch takes as inside since it is rounded to the end."""
    generator = torch.Generator().manual_seed(0)
    values, weights = torch.randn(2, 3, 500, generator=generator)
    step = torch.tensor([0.012])
    below, above = zero, 255 - zero
    outer = ((values / step < 0.5 - below) & (values / step > -0.5 - below)) | ((values / step - above).abs() < 0.5)
    values[outer] = 0.4
    x, scale, point = values.clone().requires_grad_(), step.clone().requires_grad_(), torch.tensor([float(zero)])
    factor = (values.numel() * max(below, above)) ** -0.5
    theirs = torch._fake_quantize_learnable_per_tensor_affine(x, scale, point, 0, 255, factor)
    expected = torch.autograd.grad((theirs * weights).sum(), [x, scale])
    torch.testing.assert_close(stepped(values, step, below, above), theirs.detach())
    for found, other in zip(gradients(values, step, below, above, weights), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-4)


def test_a_step_for_each_channel_has_the_gradient_of_that_channel_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    values, weights = torch.randn(2, 3, 4, 5, generator=generator)
    steps = torch.tensor([0.1, 0.02, 0.3])[:, None, None]
    together = gradients(values, steps, 7, 7, weights)[1]
    alone = [gradients(values[i], steps[i, 0], 7, 7, weights[i])[1] for i in range(3)]
    torch.testing.assert_close(together.flatten(), torch.cat(alone))


def test_steps_begin_with_the_first_values_and_stay_until_they_are_trained() -> None:
    steps = StepSizes((2, 1))
    steps.round(torch.tensor([[1.0, -3.0], [0.1, 0.3]]), 4, 16)
    torch.testing.assert_close(steps.logarithms.detach().exp(), torch.tensor([[1.0], [0.1]]))
    steps.round(torch.full((2, 2), 50.0), 4, 16)
    torch.testing.assert_close(steps.logarithms.detach().exp(), torch.tensor([[1.0], [0.1]]))


@pytest.mark.parametrize(("low", "high", "zero"), [(-1.0, 1.0, 128), (0.0, 3.0, 0), (-1.0, 4.0, 51), (-2.0, 0.0, 255)])
def test_a_learned_range_has_its_zero_where_it_was_seen(low: float, high: float, zero: int) -> None:
    learned = LearnedRange()
    features = torch.linspace(low, high, 101)
    rounded = learned.round(features, torch.tensor(low), torch.tensor(high)).detach()
    step = (learned.ends[1] - learned.ends[0]) / 255
    assert -learned.ends[0] / step == pytest.approx(zero)
    assert step == pytest.approx(2 * float(features.abs().mean()) / max(zero, 255 - zero) ** 0.5)
    torch.testing.assert_close(rounded / step, (rounded / step).round(), rtol=0, atol=1e-3)


def test_the_step_that_rows_hold_is_found() -> None:
    integers = np.array([[3, -7, 0, 28], [2, 4, -6, 8], [127, 1, 2, 3], [0, 0, 0, 0], [0, -5, 0, 0]])
    steps = np.array([0.013, 0.2, 0.5, 1.0, 0.7], dtype=np.float32)
    rows = (integers * steps[:, None]).astype(np.float32)
    rows[2] += np.array([0, 0.2, 0, 0], dtype=np.float32)
    expected = [0.013, 0.4, 0.5, 0.0, 3.5]  # of multiples of two steps, and of one number, the coarsest
    np.testing.assert_allclose(steps_held(rows, 127), expected, rtol=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 3, 40])
def test_no_row_is_further_from_its_steps_than_from_those_of_its_extremes(columns: int) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, columns)).astype(np.float32)
    steps, extremes = steps_held(rows, 127), np.abs(rows).max(1)
    away = np.abs(rows / steps[:, None] - np.rint(rows / steps[:, None])).max(1) * steps
    assert (away <= 0.5 * extremes / 127 * (1 + 1e-5)).all()
    assert (np.abs(np.rint(rows / steps[:, None])) <= 127).all()


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize(
    ("build", "features"),
    [(conv_net, 4), (Crnn, 4), (ConvLstm, 4), (AttentionBlock, 12), (LstmAlone, 4)],
    ids=["convolutions", "gru", "lstm", "attention", "lstm alone"],
)
def test_the_file_holds_learned_weights_as_they_are(
    build: Callable[[], nn.Module], features: int, reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("methods._rounding.multiplies_integers", lambda: not reduced)
    torch.manual_seed(0)
    model, probe = build().eval(), next(batches(features)).inputs[:1]
    with torch.no_grad():
        simulation = Simulation(model, lambda: True, static=False, learned=True)
        model(probe)
        simulation.fold(probe)
    exported = export_onnx(model, probe)
    graph = onnx.load_from_string(exported.data).graph
    floats = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    integer = quantized(exported, batches(features), lambda text: None, Ranges(reduced=reduced))
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(integer.data).graph.initializer}
    places = {"Conv": 1, "Gemm": 1, "MatMul": 1, "LSTM": 2, "GRU": 2}
    read = {name for node in graph.node for name in node.input[1 : 1 + places.get(node.op_type, 0)]}
    assert read & {*floats}
    for name in read & {*floats}:
        integers, scale = stored[f"{name}_quantized"].astype(np.float32), stored[f"{name}_scale"]
        wide = scale if scale.ndim == integers.ndim else along(scale, integers)
        np.testing.assert_allclose(np.sort((integers * wide).ravel()), np.sort(floats[name].ravel()), atol=1e-6)


def along(scale: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Scales of convolutions (out, ...), products (in, out) or an LSTM (directions, in, out), as wide as integers."""
    if scale.ndim == 2:
        return scale[:, None]
    return scale if integers.ndim == 2 else scale.reshape(-1, *[1] * (integers.ndim - 1))


def test_learned_steps_are_trained_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Tensor] = []
    begun: list[Tensor] = []
    first = StepSizes.round

    def round_(self: StepSizes, values: Tensor, below: float, above: float) -> Tensor:
        unknown, result = not self.known, first(self, values, below, above)
        steps.extend([self.logarithms] if unknown else [])
        begun.extend([self.logarithms.detach().clone()] if unknown else [])
        return result

    monkeypatch.setattr(StepSizes, "round", round_)
    torch.manual_seed(0)
    trainer = Trainer(Probe(batch_size=16), Probe.presets["smoke"], steps=30, seed=0, dense_macs=1)
    QuantizationAware(step_sizes="learned").compress(Probe().build_model(), trainer)
    assert len(steps) == 4 + 4 + 1  # weights, what layers read, and the result
    assert all(not torch.equal(now, then) for now, then in zip(steps, begun, strict=True))


def test_learned_steps_keep_the_contract() -> None:
    lines = check_method(load_method_spec("quantization_aware:step_sizes=learned"))
    assert any("same model for the same seed" in line for line in lines)
