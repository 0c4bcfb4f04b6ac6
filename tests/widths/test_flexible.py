"""Layers whose parts have widths of their own compute what PyTorch's layers do."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench import BenchError
from bench.export.model import PlainAttention
from bench.widths.flexible import FlexibleAttention, make_flexible
from tests.widths.test_widths import close


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


ATTENTION = {
    "plain": {},
    "weights of each head": {"average_attn_weights": False},
    "no weights": {"need_weights": False},
    "pairs": {"attn_mask": torch.ones(7, 7, dtype=torch.bool).triu(1)},
    "pairs added": {"attn_mask": torch.randn(7, 7)},
    "pairs of each head": {"attn_mask": torch.randn(3 * 2, 7, 7)},
    "causal": {"attn_mask": nn.Transformer.generate_square_subsequent_mask(7), "is_causal": True},
    "padding": {"key_padding_mask": torch.arange(7).expand(3, 7) > 4},
    "both": {
        "attn_mask": torch.ones(7, 7, dtype=torch.bool).triu(1),
        "key_padding_mask": torch.arange(7).expand(3, 7) > 4,
    },
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}, {"kdim": 8, "vdim": 8}])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_as_it_is_exported_computes_what_pytorchs_does(
    name: str, options: dict[str, Any], batch_first: bool
) -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    x = torch.randn(3, 7, 8) if batch_first else torch.randn(7, 3, 8)
    for others in ((x, x), (x.flip(0), x + 1)):
        with torch.no_grad():
            expected, expected_weights = model(x, *others, **ATTENTION[name])
            with PlainAttention():
                found, weights = model(x, *others, **ATTENTION[name])
        torch.testing.assert_close(found, expected)
        if name != "no weights":
            torch.testing.assert_close(weights, expected_weights)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 8, "vdim": 8}])
@pytest.mark.parametrize("name", [name for name in ATTENTION if name != "pairs of each head"])
def test_flexible_attention_is_pytorchs(name: str, options: dict[str, Any], batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    x = torch.randn(3, 7, 8) if batch_first else torch.randn(7, 3, 8)
    inputs = [(x, x, x), (x, x.flip(0), x + 1)]
    with torch.no_grad():
        expected = [layer(*own, **ATTENTION[name]) for own in inputs]
        make_flexible(nn.Sequential(layer))
        found = [layer(*own, **ATTENTION[name]) for own in inputs]
    assert type(layer) is FlexibleAttention
    torch.testing.assert_close(found, expected)


def test_keys_that_are_a_view_of_the_queries_are_not_taken_for_them() -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(3, 7, 8)
    with torch.no_grad():
        expected = layer(x, x[:, :4], x[:, :4])
        make_flexible(layer)
        torch.testing.assert_close(layer(x, x[:, :4], x[:, :4]), expected)


def test_a_mask_for_each_head_is_refused() -> None:
    layer = nn.MultiheadAttention(8, 2)
    make_flexible(layer)
    x = torch.zeros(7, 3, 8)
    with pytest.raises(BenchError, match=r"mask of shape \(6, 7, 7\).*removal of heads"):
        layer(x, x, x, attn_mask=torch.zeros(6, 7, 7))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 8, "vdim": 8}])
def test_attention_is_initialised_anew_as_pytorch_does(options: dict[str, Any]) -> None:
    layer = nn.MultiheadAttention(8, 2, **options)
    make_flexible(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7)
    torch.manual_seed(0)
    layer.out_proj.reset_parameters()
    layer.reset_parameters()
    torch.manual_seed(0)
    torch.testing.assert_close(layer.state_dict(), nn.MultiheadAttention(8, 2, **options).state_dict())


def test_weights_may_be_parametrized() -> None:
    layer, x = nn.MultiheadAttention(8, 2), torch.randn(7, 3, 8)
    make_flexible(layer)
    expected = layer(x, x, x)
    parametrize.register_parametrization(layer, "in_proj_weight", nn.Identity())
    torch.testing.assert_close(layer(x, x, x), expected)
