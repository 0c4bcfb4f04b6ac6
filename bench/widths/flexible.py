"""Layers whose parts have widths of their own: each layer's hidden state, the heads, a part of the input.

PyTorch's own layers know one hidden size for all layers and directions, and heads that divide the model's width. These
compute the same, from the same parameters under the same names, and stay right when rows and columns are removed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrize import remove_parametrizations
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import handle_torch_function, has_torch_function

from bench.errors import BenchError

#: weights of an attention layer that make queries, keys and values: one for all, or one for each
PROJECTIONS = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]

#: changes what a weight is multiplied with: features (B, T, n), or for a recurrent weight its columns (rows, n)
InputGate = Callable[[Tensor], Tensor]


class _Recurrence(nn.RNNBase):
    """Layer by layer and direction by direction, each with the hidden size that its weights have."""

    gates: Mapping[str, InputGate] = {}

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Inputs and outputs as of PyTorch's layer, but the last hidden states are a list where their sizes differ."""
        features = input if self.batch_first else input.transpose(0, 1)
        directions = ("", "_reverse")[: 1 + self.bidirectional]
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in directions:
                output, *state = self._direction(features, f"l{layer}{direction}", hx, len(last))
                outputs.append(output)
                last.append(state)
            features = torch.cat(outputs, -1)
            if layer + 1 < self.num_layers:
                features = functional.dropout(features, self.dropout, self.training)
        same = len({state[0].shape[-1] for state in last}) == 1
        states = [torch.cat(own) if same else list(own) for own in zip(*last, strict=True)]
        return (features if self.batch_first else features.transpose(0, 1)), states[0] if len(states) == 1 else states

    def _direction(self, features: Tensor, name: str, hx: Any, index: int) -> list[Tensor]:
        """Outputs (B, T, H), then the last state or, of an LSTM, the last two, (1, B, H)."""
        weights = [getattr(self, f"weight_ih_{name}"), getattr(self, f"weight_hh_{name}")]
        start: Any = features.new_zeros(1, features.shape[0], weights[1].shape[1])
        if self.mode == "LSTM":
            start = [start, start] if hx is None else [h[index : index + 1] for h in hx]
        elif hx is not None:
            start = hx[index : index + 1]
        features = getattr(self, f"ih_{name}", _same)(features)
        features = self.gates.get(f"weight_ih_{name}", _same)(features)
        weights[1] = self.gates.get(f"weight_hh_{name}", _same)(weights[1])
        if self.bias:
            weights += [getattr(self, f"bias_ih_{name}"), getattr(self, f"bias_hh_{name}")]
        backwards = name.endswith("_reverse")
        steps = features.flip(1) if backwards else features
        scan = getattr(torch, self.mode.lower())  # torch.gru, torch.rnn_tanh, ...: one layer, one direction
        output, *ends = scan(steps, start, weights, self.bias, 1, 0.0, self.training, False, True)
        return [output.flip(1) if backwards else output, *ends]


class FlexibleGRU(_Recurrence, nn.GRU):
    """``nn.GRU``, each layer and direction with a hidden size of its own."""


class FlexibleLSTM(_Recurrence, nn.LSTM):
    """``nn.LSTM`` without projections, each layer and direction with a hidden size of its own."""


class FlexibleRNN(_Recurrence, nn.RNN):
    """``nn.RNN``, each layer and direction with a hidden size of its own."""


def heads_of(
    inputs: Sequence[Tensor], weights: Sequence[Tensor], bias: Tensor | None, split: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of each head, (B, heads, T, head_dim).

    Args:
        inputs: query, key and value, (T, B, ...): in this order runtimes find the operators that they fuse.
        weights: of the three projections, (E, ...), or all of them in one, (3 E, ...).
        bias: of the three projections, (3 E,).
        split: (heads, head_dim); one of them may be -1.
    """
    if len(weights) == 1 and inputs[0] is inputs[1] and inputs[1] is inputs[2]:
        packed = functional.linear(inputs[0], weights[0], bias)
        packed = packed.reshape(packed.shape[0], packed.shape[1], 3, *split).permute(2, 1, 3, 0, 4)
        return packed[0], packed[1], packed[2]
    biases = (None, None, None) if bias is None else bias.chunk(3)
    parts = zip(inputs, weights if len(weights) == 3 else weights[0].chunk(3), biases, strict=True)
    projected = [functional.linear(*part) for part in parts]
    q, k, v = (p.reshape(p.shape[0], p.shape[1], *split).permute(1, 2, 0, 3) for p in projected)
    return q, k, v


def attend(
    heads: Sequence[Tensor], scale: float, masks: Sequence[Tensor | None], *, dropout: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """What each head gathers, (B, heads, T, head_dim), and with which weights, (B, heads, T, S), if they are needed.

    Args:
        heads: queries, keys and values, (B, heads, T or S, head_dim).
        scale: of their products.
        masks: of pairs, (T, S) or (B, heads, T, S), and of keys, (B, S): added to the scores, or True where hidden.
        dropout: share of the weights that is dropped.
        need_weights: without them one operator does it all, except in ONNX, which has none.

    To a ``TorchFunctionMode`` it is a function like those of PyTorch, so that a file can be written with other keys.
    """
    if has_torch_function(tuple(heads)):
        options: Any = {"dropout": dropout, "need_weights": need_weights}
        return handle_torch_function(attend, tuple(heads), heads, scale, masks, **options)  # type: ignore[no-any-return]
    q, k, v = heads
    pairs, keys = (_additive(mask, q) for mask in masks)
    keys = None if keys is None else keys[:, None, None]
    mask = keys if pairs is None else pairs if keys is None else pairs + keys
    if not need_weights and not torch.onnx.is_in_onnx_export():
        return functional.scaled_dot_product_attention(q, k, v, mask, dropout), None
    scores = (q @ k.transpose(-2, -1)) * scale
    weights = functional.softmax(scores if mask is None else scores + mask, -1)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v, weights


def _additive(mask: Tensor | None, queries: Tensor) -> Tensor | None:
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=queries.dtype).masked_fill(mask, float("-inf"))


@contextmanager
def unfused_attention() -> Iterator[None]:
    """While this lasts, attention computes by separate operators; the fused kernel of eval mode hides its products."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class FlexibleAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention``, of which single heads, or features of the model, may be gone."""

    gates: Mapping[str, InputGate] = {}

    def forward(  # noqa: PLR0917  (PyTorch's own signature)
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention as PyTorch's layer computes it; arguments and results have the same shapes."""
        if attn_mask is not None and attn_mask.dim() == 3:
            raise BenchError(
                f"an attention mask of shape {tuple(attn_mask.shape)}, one for each head, does not survive the removal "
                "of heads: give one of shape (T, S) for all of them"
            )
        inputs = self._time_first((query, key, value))
        weights = [getattr(self, name) for name in self.projections()]
        heads = heads_of(inputs, weights, self.in_proj_bias, (-1, self.head_dim))
        dropout = self.dropout if self.training else 0.0
        masks = attn_mask, key_padding_mask
        mixed, attention = attend(heads, self.head_dim**-0.5, masks, dropout=dropout, need_weights=need_weights)
        output = self.out_proj(mixed.permute(2, 0, 1, 3).reshape(mixed.shape[2], mixed.shape[0], -1))
        if attention is not None and average_attn_weights:
            attention = attention.mean(1)
        return (output.transpose(0, 1) if self.batch_first else output), attention if need_weights else None

    def reset_parameters(self) -> None:
        """Initialise the projections anew, as PyTorch's layer does."""
        for name in self.projections():
            nn.init.xavier_uniform_(getattr(self, name))
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def projections(self) -> list[str]:
        """The names of the weights that make queries, keys and values: three, or one for all."""
        return [PROJECTIONS[0]] if self.in_proj_weight is not None else PROJECTIONS[1:]

    def _time_first(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Each input as (T, B, n), behind the gate of its weight, and before that behind the layer that makes it fewer
        features, if any; what is one tensor before is one behind it.
        """
        done: dict[tuple[int, str], Tensor] = {}
        places = [(id(x), name) for x, name in zip(inputs, self.projections() * 3, strict=False)]
        for place, x in zip(places, inputs, strict=True):
            if place not in done:
                batch_first = x if self.batch_first else x.transpose(0, 1)
                reduced = getattr(self, "in_proj", _same)(batch_first)
                done[place] = self.gates.get(place[1], _same)(reduced).transpose(0, 1)
        return [done[place] for place in places]


class FlexibleInstanceNorm(_InstanceNorm):
    """``nn.InstanceNorm1d`` to ``3d`` without weights and statistics, of which any number of channels may come."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...), each channel of each example with zero mean and unit variance."""
        return functional.instance_norm(x, eps=self.eps)


#: attribute of a layer -> the option that sets it
_UNKNOWN = {"proj_size": "proj_size", "bias_k": "add_bias_kv", "add_zero_attn": "add_zero_attn"}
_FLEXIBLE: dict[type[nn.Module], type[nn.Module]] = {
    nn.GRU: FlexibleGRU,
    nn.LSTM: FlexibleLSTM,
    nn.RNN: FlexibleRNN,
    nn.MultiheadAttention: FlexibleAttention,
}
RECURRENT = (FlexibleGRU, FlexibleLSTM, FlexibleRNN)


def make_flexible(model: nn.Module) -> None:
    """Let every recurrent and attention layer of a model compute in its flexible form: same parameters, same names.

    The class of the layer is replaced and not the layer, so that whoever holds the layer holds it still. A
    ``BenchError`` names a layer with an option that the flexible form does not have.
    """
    for name, module in list(model.named_modules()):
        _fold_weight_norm(module)
        if isinstance(module, _InstanceNorm) and not (module.affine or module.track_running_stats):
            module.__class__ = FlexibleInstanceNorm
        if type(module) not in _FLEXIBLE:
            continue
        for attribute, option in _UNKNOWN.items():
            if isinstance(value := getattr(module, attribute, None), Tensor) or value:
                kind = type(module).__name__
                raise BenchError(f"the width graph does not know {kind} with {option} (layer {name!r})")
        module.__class__ = _FLEXIBLE[type(module)]
        if isinstance(module, FlexibleAttention):
            module._qkv_same_embed_dim = False  # keeps nn.TransformerEncoderLayer from passing the layer by


def _fold_weight_norm(module: nn.Module) -> None:
    """Let a weight be a plain parameter again: its norm over the inputs would change with every one that goes."""
    for name, chain in list(getattr(module, "parametrizations", {}).items()):
        if len(chain) == 1 and type(chain[0]).__name__ == "_WeightNorm":
            remove_parametrizations(module, name)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)


def _same(x: Tensor) -> Tensor:
    return x


class Selection(nn.Module):
    """A model that reads some entries of an axis of its input only, ``indices`` (n,), such as some of the mel bands."""

    indices: Tensor
    model: nn.Module

    def __init__(self, model: nn.Module, axis: int, indices: Tensor) -> None:
        super().__init__()
        self.model, self.axis = model, axis
        self.register_buffer("indices", indices)

    def forward(self, x: Tensor) -> Tensor:
        """The model's output for an input of the dense model."""
        output: Tensor = self.model(x.index_select(self.axis, self.indices))
        return output
