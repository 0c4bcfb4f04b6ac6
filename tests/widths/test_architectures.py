"""Widths of networks of every kind, most of them written by others."""

import copy

import pytest
import torch
from torch import Tensor, nn

from bench import Widths
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs
from tests.architectures import ARCHITECTURES, Encoder, Recurrent, Transformer
from tests.models import randomise_norms
from tests.widths.test_widths import close, inputs, random_choice

Built = tuple[nn.Module, Widths]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def built(request: pytest.FixtureRequest) -> Built:
    """A model in eval mode and its widths."""
    torch.manual_seed(5)
    build, shape, axis = ARCHITECTURES[request.param]
    model = randomise_norms(build())
    return model, Widths(model, torch.zeros(shape), input_axis=axis)


@pytest.mark.parametrize("seed", range(4))
def test_removal_is_masking_and_the_cost_is_exact(built: Built, seed: int) -> None:
    model, widths = built
    kept = random_choice(widths, seed)
    small = widths.keep(kept)
    x = inputs(widths)
    with torch.no_grad(), widths.mask(kept):
        masked = model(x)
    with torch.no_grad():
        assert close(small(x), masked)
        assert not close(model(x), masked) or all(len(k) == widths.sizes[n] for n, k in kept.items())
    assert widths.macs({name: len(k) for name, k in kept.items()}) == count_macs(small, widths.example_input)


@pytest.mark.parametrize("budget", [0.5, 0.25])
def test_a_smaller_model_meets_the_budget_trains_exports_and_shrinks_again(built: Built, budget: float) -> None:
    _, widths = built
    small = widths.keep(widths.strongest(widths.norms(), budget))
    assert 0.85 * budget <= count_macs(small, widths.example_input) / widths.reference_macs <= budget
    x = inputs(widths)
    before = copy.deepcopy(small.state_dict())
    optimizer = torch.optim.SGD(small.train().parameters(), 0.01)
    small(x).square().sum().backward()
    optimizer.step()
    assert any(not torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())
    small.eval()
    with torch.no_grad():
        expected = small(x)
    predict = Predictor(export_onnx(small, widths.example_input))
    torch.testing.assert_close(predict(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    if isinstance(built[0], (Transformer, Recurrent, Encoder)):  # the time axis stays free
        longer = torch.randn(2, 10, 33)
        with torch.no_grad():
            torch.testing.assert_close(predict(longer), small(longer), rtol=1e-4, atol=1e-5)
    axis = 1 if "input" in widths.sizes else None
    again = Widths(small, widths.example_input, widths.reference_macs, input_axis=axis)
    smaller = again.keep(again.strongest(again.norms(), 0.8 * budget))
    assert count_macs(smaller, widths.example_input) <= 0.8 * budget * widths.reference_macs


def test_the_whole_model_costs_what_the_counter_says(built: Built) -> None:
    model, widths = built
    assert widths.macs({}) == widths.reference_macs == count_macs(model, widths.example_input)


def test_scaled_weights_are_gates_made_permanent(built: Built) -> None:
    model = copy.deepcopy(built[0])
    widths = Widths(model, built[1].example_input, input_axis=1 if "input" in built[1].sizes else None)
    factors = {name: torch.rand(size) + 0.5 for name, size in widths.sizes.items()}

    def gate(factor: Tensor):  # type: ignore[no-untyped-def]
        return lambda x, channels: x * factor[channels].view(1, -1, *[1] * (x.dim() - 2))

    x = inputs(widths)
    with torch.no_grad(), widths.gate({name: gate(factor) for name, factor in factors.items()}):
        gated = model(x)
    widths.scale(factors)
    with torch.no_grad():
        torch.testing.assert_close(model(x), gated, rtol=1e-4, atol=1e-5 * float(gated.abs().max()))


def test_groups_that_are_left_out_keep_their_channels() -> None:
    widths = Widths(Transformer(), torch.zeros(1, 10, 20), input_axis=1)
    heads = [name for name in widths.sizes if name.endswith("heads")]
    rest = widths.without(heads)
    assert set(rest.sizes) == set(widths.sizes) - set(heads)
    assert rest.macs(rest.sizes) == widths.macs({})
    small = rest.keep(rest.strongest(rest.norms(), 0.5))
    assert [m.num_heads for m in small.modules() if isinstance(m, nn.MultiheadAttention)] == [3, 3]
    assert count_macs(small, widths.example_input) <= 0.5 * widths.reference_macs
    assert set(widths.only(["blocks.1"]).sizes) == {"blocks.1.attention.heads", "blocks.1.up"}


def test_a_layer_norm_keeps_enough_channels_to_say_anything() -> None:
    widths = Widths(Transformer(), torch.zeros(1, 10, 20))
    smallest = widths.largest(widths.norms(), widths.smallest_budget)
    assert smallest["project"] == 4  # one channel, normalised, is a constant
    assert smallest["blocks.0.up"] == 1
