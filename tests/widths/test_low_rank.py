"""Layers replaced by two of low rank compute what they should, and are layers like any other."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from bench import BenchError, Widths, count_macs, factorizable, factorized
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from bench.widths.history import steps_of
from tests.architectures import ARCHITECTURES
from tests.models import Temporal, mlp, randomise_norms
from tests.widths.test_widths import close, random_choice

LAYERS = {
    "linear": nn.Linear(12, 7),
    "linear without bias": nn.Linear(5, 9, bias=False),
    "dilated": nn.Conv1d(4, 10, 3, stride=2, padding=2, dilation=2),
    "same": nn.Conv1d(6, 5, 4, padding="same", padding_mode="circular"),
    "images": nn.Conv2d(3, 8, (5, 3), (2, 1), (2, 1), bias=False),
    "volumes": nn.Conv3d(3, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
}


def matrix_of(model: nn.Module, name: str) -> torch.Tensor:
    """The weight of a product, (outputs, inputs * taps)."""
    return model.get_parameter(factorizable(model)[name]).detach().flatten(1)


def built(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A model of another's, in eval mode, and an input."""
    torch.manual_seed(0)
    build, shape, _ = ARCHITECTURES[name]
    return randomise_norms(build()), torch.randn(3, *shape[1:])


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_the_best_approximation_of_its_rank(name: str) -> None:
    model = nn.Sequential(LAYERS[name])
    weight = matrix_of(model, "0").numpy()
    left, values, right = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    assert weight.shape == (len(LAYERS[name].weight), LAYERS[name].weight[0].numel())
    for rank in range(1, len(values) + 1):
        first, second = factorized(model, {"0": rank})[0]
        factors = [f.weight.detach().flatten(1).numpy() for f in (second, first)]
        np.testing.assert_allclose(factors[0] @ factors[1], left[:, :rank] * values[:rank] @ right[:rank], atol=1e-6)
        np.testing.assert_allclose(factors[0].T @ factors[0], factors[1] @ factors[1].T, atol=1e-5)  # split evenly
        assert factors[1].shape == (rank, weight.shape[1]) and (second.bias is None) == (LAYERS[name].bias is None)


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_a_layer_computes_what_it_did(name: str) -> None:
    layer = LAYERS[name].eval()
    shape = {2: (4, 8, layer.weight.shape[1]), 3: (4, layer.weight.shape[1], 19), 4: (4, 3, 16, 11), 5: (4, 3, 2, 9, 8)}
    x = torch.randn(shape[layer.weight.dim()])
    pair = factorized(nn.Sequential(layer), {"0": min(layer.weight.flatten(1).shape)})
    torch.testing.assert_close(pair(x), layer(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_at_full_rank_a_model_computes_what_it_did(name: str) -> None:
    model, x = built(name)
    expected, before = model(x), copy.deepcopy(model.state_dict())
    weights = factorizable(model)
    pairs = factorized(model, {name: min(matrix_of(model, name).shape) for name in weights})
    assert close(pairs(x), expected)
    assert weights and all(f"{name}.0.weight" in pairs.state_dict() for name in weights)
    assert not set(weights) & set(factorizable(pairs))  # the two may be factorised again, the one is gone
    assert not pairs.training and all(torch.equal(before[n], t) for n, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "left"),
    [
        (nn.MultiheadAttention(6, 2), ["in_proj", "out_proj"]),
        (nn.MultiheadAttention(6, 2, kdim=5, vdim=4), ["out_proj"]),  # three weights of different shapes
        (nn.LSTM(4, 3, num_layers=2), ["ih_l0", "ih_l1"]),
        (nn.GRU(4, 3, bidirectional=True), ["ih_l0", "ih_l0_reverse"]),
        (nn.Conv1d(4, 6, 3, groups=2), []),
        (nn.ConvTranspose1d(4, 6, 3), []),
    ],
)
def test_what_of_a_layer_can_be_factorised(layer: nn.Module, left: list[str]) -> None:
    assert list(factorizable(nn.ModuleDict({"own": layer}))) == [f"own.{name}" for name in left]
    assert set(factorizable(layer)) == set(left)  # a layer that is the model itself


@torch.no_grad()
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_an_attention_of_low_rank_is_one_with_the_best_matrix_of_this_rank(rank: int) -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(6, 2, batch_first=True).eval(), torch.randn(3, 5, 6)
    small = factorized(attention, {"in_proj": rank, "out_proj": rank})
    for weight in (attention.in_proj_weight, attention.out_proj.weight):
        left, values, right = torch.linalg.svd(weight)
        weight.copy_(left[:, :rank] * values[:rank] @ right[:rank])
    torch.testing.assert_close(small(x, x, x)[0], attention(x, x, x)[0])
    y = torch.randn(3, 4, 6)  # keys and values of another
    torch.testing.assert_close(small(x, y, y)[0], attention(x, y, y)[0])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_width_graph_follows_it_and_the_file_costs_the_same(name: str) -> None:
    model, x = built(name)
    example = x[:1]
    dense = Widths(model, example)
    shapes = {name: matrix_of(model, name).shape for name in factorizable(model)}
    macs = {name: dense.weight_macs.get(weight, 0) for name, weight in factorizable(model).items()}
    ranks = {name: max(1, min(shape) // 3) for name, shape in shapes.items() if macs[name]}
    small = factorized(model, ranks)
    widths = Widths(small, example)
    saved = 0
    for layer, rank in ranks.items():
        outputs, inputs = shapes[layer]
        saved += macs[layer] - macs[layer] // (outputs * inputs) * rank * (outputs + inputs)
    assert count_macs(small, example) == widths.macs(widths.sizes) == dense.macs(dense.sizes) - saved
    assert all(widths.sizes[f"{layer}.0"] == rank for layer, rank in ranks.items() if rank > 1)
    narrow = widths.keep(random_choice(widths, 1))
    exported = export_onnx(narrow, example)
    assert file_costs(exported, tuple(example.shape)).macs == count_macs(narrow, example)
    with torch.no_grad():
        assert close(Predictor(exported)(x), narrow(x))


def test_it_remembers_what_was_done_in_order() -> None:
    model = Temporal()
    widths = Widths(model, torch.zeros(1, 4, 20))
    narrow = widths.keep({"inner": torch.tensor([1, 4, 5, 8])})
    small = factorized(narrow, {"inner": 3, "frames": 2})
    last = Widths(copy.deepcopy(small), torch.zeros(1, 4, 20)).keep({"inner.0": torch.tensor([0, 2])})
    assert steps_of(last) == [
        {"kept_channels": {"inner": [1, 4, 5, 8]}},
        {"ranks": {"inner": 3, "frames": 2}},
        {"kept_channels": {"inner.0": [0, 2]}},
    ]
    assert steps_of(model) == steps_of(factorized(model, {})) == []


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ({"9": 1}, "no layer '9' can be factorized; those that can: 0, 2, 4"),
        ({"1": 1}, "no layer '1' can be factorized"),
        ({"0": 7}, "layer '0' has ranks from 1 to 6, not 7"),
        ({"0": 0}, "layer '0' has ranks from 1 to 6, not 0"),
    ],
)
def test_what_cannot_be_is_said(ranks: dict[str, int], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        factorized(mlp(), ranks)
