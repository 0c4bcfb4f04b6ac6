"""Rounding for what a layer makes of its inputs: never worse than the nearest, never better than the best of all."""

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from bench import Batch
from bench.check import check_method
from bench.export.model import OnnxModel, Predictor, export_onnx
from bench.plugins.registry import load_method_spec
from methods._integer import Ranges, largest_integer, quantized
from methods._reconstruction import (
    ROUNDINGS,
    gptq,
    hessians,
    nearest,
    on_grid,
    reconstruction_errors,
    rounded,
    up_or_down,
)


def problem(seed: int, inputs: int = 8, outputs: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A weight (inputs, outputs) and twice the second moments of inputs that depend on each other."""
    draw = np.random.default_rng(seed)
    read = draw.normal(size=(300, inputs)) @ draw.normal(size=(inputs, inputs))
    return draw.normal(size=(inputs, outputs)), 2 * read.T @ read


def best_of_all(weight: np.ndarray, hessian: np.ndarray, steps: np.ndarray, top: int) -> np.ndarray:
    """The smallest error of each output over all ways to round up or down."""
    ways = itertools.product((0, 1), repeat=len(weight))
    grids = (np.clip(np.floor(weight / steps) + np.array(way)[:, None], -top, top) * steps for way in ways)
    return np.min([reconstruction_errors(weight, grid, hessian) for grid in grids], axis=0)


@pytest.mark.parametrize("top", [7, 127])
@pytest.mark.parametrize("seed", range(3))
def test_between_the_nearest_and_the_best_of_all(seed: int, top: int) -> None:
    weight, hessian = problem(seed)
    steps = np.abs(weight).max(0) / top
    errors = {
        how: reconstruction_errors(weight, rounded(how, weight, hessian, steps, top) * steps, hessian)
        for how in ROUNDINGS
    }
    best = best_of_all(weight, hessian, steps, top)
    assert (errors["up_or_down"] >= best * (1 - 1e-9)).all()  # GPTQ may move a weight by more than one step
    for how in ("up_or_down", "gptq"):
        assert (errors[how] <= errors["nearest"]).all()
        assert errors[how].sum() < 0.95 * errors["nearest"].sum()
        assert errors[how].sum() < 1.5 * best.sum()


def test_the_error_is_that_of_the_outputs() -> None:
    draw = np.random.default_rng(0)
    read, weight, other = draw.normal(size=(50, 4)), draw.normal(size=(4, 3)), draw.normal(size=(4, 3))
    expected = 2 * np.square(read @ other - read @ weight).sum(0)
    np.testing.assert_allclose(reconstruction_errors(weight, other, 2 * read.T @ read), expected)


@pytest.mark.parametrize("how", [gptq, up_or_down])
def test_without_correlations_the_nearest_is_best(how: Callable[..., np.ndarray]) -> None:
    weight, _ = problem(0)
    grid = (np.full(weight.shape, 0.3), np.full(weight.shape, 7), 14)
    assert np.array_equal(how(weight, np.eye(8), *grid), nearest(weight, np.eye(8), *grid))


def convolution(name: str) -> tuple[nn.Module, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    if name == "one axis":
        return nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), torch.randn(5, 4, 30, generator=draw)
    if name == "two axes":
        conv = nn.Conv2d(3, 5, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(1, 2))
        return conv, torch.randn(5, 3, 12, 11, generator=draw)
    if name == "three axes":
        volumes = nn.Conv3d(4, 6, (1, 3, 2), stride=(1, 2, 1), padding=(0, 2, 1), dilation=(1, 2, 1), groups=2)
        return volumes, torch.randn(5, 4, 3, 9, 8, generator=draw)
    return nn.Linear(7, 4), torch.randn(5, 6, 7, generator=draw)


@pytest.mark.parametrize("name", ["one axis", "two axes", "three axes", "linear"])
def test_second_moments_are_those_of_what_meets_the_weight(name: str) -> None:
    """The error by them is that of what the layer really computes with another weight."""
    torch.manual_seed(0)
    layer, x = convolution(name)
    exported = export_onnx(layer.eval(), x[:1])
    node = next(n for n in onnx.load_from_string(exported.data).graph.node if n.op_type in ("Conv", "Gemm", "MatMul"))
    moments = hessians(exported, [node], [Batch(x[:2], x[:2]), Batch(x[2:], x[2:])])[node.output[0]]
    change = torch.randn(layer.weight.shape)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        before = layer(x)
        layer.weight += change  # type: ignore[operator]
        expected = 2 * (layer(x) - before).double().square().transpose(0, 1 if name != "linear" else 2).flatten(1).sum(
            1
        )
    rows = np.split(change.flatten(1).double().numpy(), len(moments))
    parts = zip(rows, moments, strict=True)
    found = np.concatenate([reconstruction_errors(0 * own.T, own.T, hessian) for own, hessian in parts])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def layered() -> OnnxModel:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(208, 3))
    return export_onnx(net.eval(), torch.zeros(1, 4, 30))


def integers(model: OnnxModel) -> list[np.ndarray]:
    stored = [numpy_helper.to_array(t) for t in onnx.load_from_string(model.data).graph.initializer]
    return [values for values in stored if values.dtype == np.int8 and values.ndim > 1]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("how", ["gptq", "up_or_down"])
def test_the_file_in_integers_has_the_weights_that_were_chosen(how: str, per_channel: bool) -> None:
    exported, top = layered(), largest_integer(reduced=False)
    mixing = torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
    x = torch.einsum("ij,bjt->bit", mixing, torch.randn(16, 4, 30, generator=torch.Generator().manual_seed(4)))
    chosen = on_grid(exported, [Batch(x, x)], how, top, per_channel=per_channel)
    ranges = Ranges(per_channel=per_channel, reduced=False)
    plain, better = (quantized(m, [Batch(x, x)], lambda text: None, ranges) for m in (exported, chosen))
    moved = [np.abs(a.astype(int) - b).max() for a, b in zip(integers(plain), integers(better), strict=True)]
    assert all(0 < own <= 3 for own in moved)  # a grid of its own would move large weights by more
    floats = sorted(numpy_helper.to_array(t).size for t in onnx.load_from_string(exported.data).graph.initializer)
    assert floats == sorted(numpy_helper.to_array(t).size for t in onnx.load_from_string(chosen.data).graph.initializer)
    expected, simulated, found = (Predictor(m)(x) for m in (exported, chosen, better))
    assert float((found - expected).norm() / expected.norm()) < 0.05
    assert float((simulated - expected).norm()) > 0


@pytest.mark.parametrize("how", ["gptq", "up_or_down"])
def test_it_keeps_the_contract(how: str) -> None:
    lines = [*check_method(load_method_spec(f"quantization:rounding={how}"))]
    assert any("same model for the same seed" in line for line in lines)
