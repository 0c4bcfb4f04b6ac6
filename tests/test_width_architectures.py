import copy

import pytest
import torch
from torch import Tensor, nn

from bench import Widths
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs
from bench.widths.flexible import make_flexible
from tests.architectures import ARCHITECTURES, Encoder, Recurrent, Transformer
from tests.models import randomise_norms

Built = tuple[nn.Module, Widths]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def built(request: pytest.FixtureRequest) -> Built:
    """A model in eval mode and its widths."""
    torch.manual_seed(5)
    build, shape, axis = ARCHITECTURES[request.param]
    model = randomise_norms(build())
    return model, Widths(model, torch.zeros(shape), input_axis=axis)


def inputs(widths: Widths, examples: int = 3) -> Tensor:
    return torch.randn(examples, *widths.example_input.shape[1:], generator=torch.Generator().manual_seed(9))


def random_choice(widths: Widths, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randperm(size, generator=generator)[: int(torch.randint(1, size + 1, (), generator=generator))]
        for name, size in widths.sizes.items()
    }


def close(left: Tensor, right: Tensor) -> bool:
    return float((left - right).abs().max()) <= 1e-5 * float(right.abs().max())


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
        assert not close(model(x), masked) or all(len(kept[n]) == size for n, size in widths.sizes.items())
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


def groups(model: nn.Module, shape: tuple[int, ...], axis: int | None = None) -> dict[str, int]:
    return Widths(model, torch.zeros(shape), input_axis=axis).sizes


def test_every_recurrent_layer_and_direction_has_a_width_of_its_own() -> None:
    widths = Widths(Recurrent(nn.GRU, bidirectional=True), torch.zeros(1, 10, 20))
    assert widths.sizes == {
        "front": 8, "memory.l0": 6, "memory.l0_reverse": 6, "memory.l1": 6, "memory.l1_reverse": 6,
    }  # fmt: skip
    assert [g.name for g in widths.groups if g.recurrent] == [name for name in widths.sizes if name != "front"]
    hidden = next(group for group in widths.groups if group.name == "memory.l0")
    # its own recurrence, and the inputs of both directions of the layer above
    assert sorted(m.parameter for m in hidden.consumers) == ["weight_hh_l0", "weight_ih_l1", "weight_ih_l1_reverse"]


def test_the_groups_of_a_transformer_are_bands_stream_heads_and_feed_forward() -> None:
    assert groups(Transformer(), (1, 10, 20), 1) == {
        "input": 10, "project": 12, "blocks.0.attention.heads": 3, "blocks.0.up": 20,
        "blocks.1.attention.heads": 3, "blocks.1.up": 20,
    }  # fmt: skip


def test_the_input_is_a_width_only_where_the_task_says_so() -> None:
    assert "input" not in groups(Transformer(), (1, 10, 20))
    model = Transformer()
    narrow = Widths(model, torch.zeros(1, 10, 20), input_axis=1).keep({"input": torch.tensor([1, 4, 7])})
    x = torch.randn(2, 10, 20)
    with torch.no_grad():
        same = narrow(x.index_fill(1, torch.tensor([0, 2, 3, 5, 6, 8, 9]), 99.0))
        assert torch.equal(narrow(x), same)  # the other bands are not read
    assert narrow.model.project.in_features == 3


@torch.no_grad()
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_flexible_recurrence_is_pytorchs(kind: type[nn.RNNBase], bidirectional: bool, batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = kind(4, 5, 2, bidirectional=bidirectional, batch_first=batch_first).eval()
    x, states = torch.randn(3, 7, 4), torch.randn(2 * (1 + bidirectional), 3 if batch_first else 7, 5)
    start = (states, states + 1) if kind is nn.LSTM else states
    names = list(layer.state_dict())
    expected = [layer(x), layer(x, start)]
    make_flexible(layer)
    assert type(layer) is not kind
    assert list(layer.state_dict()) == names
    for (outputs, last), (reference, reference_last) in zip([layer(x), layer(x, start)], expected, strict=True):
        assert close(outputs, reference)
        pairs = [(last, reference_last)] if isinstance(last, Tensor) else zip(last, reference_last, strict=True)
        assert all(close(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("need_weights", [True, False])
def test_flexible_attention_is_pytorchs(need_weights: bool) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(12, 3).eval()
    query, key = torch.randn(6, 2, 12), torch.randn(9, 2, 12)
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[1, 5:] = True
    hidden = torch.rand(6, 9) > 0.7
    hidden[:, 0] = False  # everybody sees something
    with torch.no_grad():
        expected = layer(query, key, key, padding, need_weights, hidden)
        make_flexible(layer)
        found = layer(query, key, key, padding, need_weights, hidden)
    assert close(found[0], expected[0])
    assert need_weights == (found[1] is not None)
    assert not need_weights or close(found[1], expected[1])


def test_the_examples_lie_where_they_lie() -> None:
    """Coefficients of one example must not reach another, whichever axis the batch is."""
    torch.manual_seed(0)
    model = Encoder(norm_first=True, batch_first=False).eval()
    widths = Widths(model, torch.zeros(1, 10, 20))
    x = torch.randn(3, 10, 20)
    alive = (torch.rand(3, 12) > 0.5).float()

    def gate(features: Tensor, channels: Tensor) -> Tensor:
        return features * alive[:, channels].view(3, -1, *[1] * (features.dim() - 2))

    with torch.no_grad():
        with widths.gate({"project": gate}, {"project": lambda channels: alive[:, channels]}):
            together = model(x)
        for i in range(3):
            with widths.mask({"project": alive[i].nonzero().flatten()}):
                assert close(together[i : i + 1], model(x[i : i + 1]))


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
