"""Training behind rounding: what is simulated, what is trained, and that the file computes the same."""

from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bench.check import Probe
from bench.export.costs import file_costs
from bench.export.model import OnnxModel, Predictor, export_onnx
from bench.plugins.registry import load_method_spec
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs
from methods._integer import Ranges, Trained, is_static, quantized
from methods._rounding import Simulation, _rounded, _Weight
from methods.quantization_aware import QuantizationAware
from tests.export.test_model import Crnn
from tests.methods.test_quantization import MODELS, batches, conv_net, few_channels  # noqa: F401


def test_nothing_is_rounded_before_its_time() -> None:
    torch.manual_seed(0)
    model, x = Crnn().eval(), torch.randn(3, 4, 30)
    with torch.no_grad():
        expected = model(x)
        simulation = Simulation(model, lambda: False, static=False)
        assert torch.equal(model(x), expected)
    first = simulation.fold(x)[0]
    assert first.ends == first.probed == pytest.approx((float(x.min()), float(x.max())))


def test_zero_points_lie_where_the_weight_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def rounded(weight: Tensor, *of: Any) -> Tensor:
        devices.extend(x.device.type for x in of if isinstance(x, Tensor))
        return weight

    monkeypatch.setattr(torch, "fake_quantize_per_channel_affine", rounded)
    _Weight(lambda: True)(torch.zeros(3, 4, device="meta"))
    assert devices == ["meta", "meta"]


def test_features_are_one_of_256_numbers_and_gradients_pass_inside() -> None:
    x = torch.linspace(-2, 3, 41, requires_grad=True)
    rounded = _rounded(x, torch.tensor(-1.0), torch.tensor(2.0))
    steps = (rounded.detach() * 255 / 3).round()
    torch.testing.assert_close(rounded.detach(), steps * 3 / 255)
    assert float(rounded.detach()[x == 0].abs().sum()) == 0
    rounded.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and torch.equal(x.grad, ((x >= -1) & (x <= 2)).float())


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("name", ["convolutions", "crnn", "lstm", "block", "encoder"])
def test_the_file_computes_what_was_trained_behind_rounding(name: str, learned: bool) -> None:
    """It is nearer to the simulation than to the network without rounding, by at least a factor of two."""
    torch.manual_seed(0)
    build, features = MODELS[name]
    model = build().eval()
    x = torch.randn(1, features, 30, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        floats = model(x)
        static = is_static(export_onnx(model, x))
        simulation = Simulation(model, lambda: True, static=static, learned=learned)
        model.train()
        for module in model.modules():  # dropout and batch statistics would be other networks
            if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                module.training = False
        for batch in batches(features, 30):
            model(batch.inputs)
        simulated = model.eval()(x)
        probe = next(batches(features)).inputs[:1]
        ranges = Ranges(trained=simulation.fold(probe), probe=probe)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    integer = quantized(export_onnx(model, x), batches(features), lambda text: None, ranges)
    found = Predictor(integer)(x)
    assert float((found - simulated).norm()) <= 0.5 * float((found - floats).norm())


def scales_of(integer: OnnxModel) -> list[float]:
    """Those of activations."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(integer.data).graph.initializer}
    return [float(value) for name, value in stored.items() if name.endswith("_scale") and value.size == 1]


def test_trained_ranges_are_those_of_the_file_wherever_the_probe_knows_the_tensor() -> None:
    torch.manual_seed(0)
    net = conv_net().eval()
    probe = next(batches(4)).inputs[:1]
    with torch.no_grad():
        between = net[:3](probe)  # type: ignore[index]
    lows = [(float(own.min()), float(own.max())) for own in (probe, between)]
    trained = (Trained((-1.0, 1.55), lows[0]), Trained((0.0, 5.1), lows[1]), Trained((-70.0, 58.0), (-9.0, 9.0)))
    exported = export_onnx(net, torch.zeros(1, 4, 30))
    scales = scales_of(quantized(exported, batches(4), lambda text: None, Ranges(trained=trained, probe=probe)))
    near = {wanted: min(abs(scale - wanted) for scale in scales) for wanted in (0.01, 0.02, 0.5)}
    assert near[0.01] < 1e-6 and near[0.02] < 1e-6 and near[0.5] > 0.1


def test_what_a_folded_norm_changes_is_calibrated() -> None:
    """The last layer's own result is seen before a norm that the file has folded into the layer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8))
    with torch.no_grad():
        model[1].weight.mul_(50)
    simulation = Simulation(model.train(), lambda: True, static=True)
    for batch in batches(4):
        model(batch.inputs)
    probe = next(batches(4)).inputs[:1]
    ranges = Ranges(trained=simulation.fold(probe), probe=probe)
    exported = export_onnx(model.eval(), probe)
    found = Predictor(quantized(exported, batches(4), lambda text: None, ranges))(probe)
    expected = Predictor(exported)(probe)
    assert float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("before", ["magnitude_pruning", "stochastic_gates"])
def test_it_trains_on_what_another_method_has_left(before: str) -> None:
    spec = load_method_spec(f"{before}+quantization_aware")
    task = Probe(batch_size=16)
    torch.manual_seed(0)
    model = task.build_model()
    dense = count_macs(model, task.example_input())
    run = Trainer(task, Probe.presets["smoke"], steps=40, seed=0, dense_macs=dense)
    integer = spec.build({"budget": 0.5}).compress(model, run)
    assert isinstance(integer, OnnxModel) and run.steps_left == 0
    assert file_costs(integer, tuple(task.example_input().shape)).macs <= 0.5 * dense


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_weights_trained_behind_rounding_are_those_of_the_file(start: float, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[nn.Module] = []

    def export(self: Trainer, model: nn.Module) -> OnnxModel:
        trained.append(model)
        return export_onnx(model, Probe().example_input())

    monkeypatch.setattr(Trainer, "export", export)
    plan = Probe.presets["smoke"]
    torch.manual_seed(0)
    model = Probe().build_model()
    before = model.head.weight.detach().clone()
    trainer = Trainer(Probe(batch_size=16), plan, steps=50, seed=0, dense_macs=1)
    integer = QuantizationAware(start=start).compress(model, trainer)
    assert trained == [model, model] and trainer.steps_left == 0 and not torch.equal(before, model.head.weight)
    assert not any(m._forward_pre_hooks or hasattr(m, "parametrizations") for m in model.modules())
    for name in ("stem.0", "inner.0", "back", "head"):
        for row in model.get_submodule(name).weight.detach().flatten(1):
            steps = row / row.abs().max() * 127
            torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    x = torch.randn(16, 8, 20)
    with torch.no_grad():
        expected = model(x)
    assert float((Predictor(integer)(x) - expected).norm() / expected.norm()) < 0.05
