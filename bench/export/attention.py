"""Multi-head attention in the form that is exported: free in batch and time, and without detours."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, multi_head_attention_forward
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(multi_head_attention_forward)


class PlainAttention(TorchFunctionMode):
    """While it is active, ``nn.MultiheadAttention`` computes the same by fewer operators.

    PyTorch's own form is traced through ``Tensor.unflatten``, which the exporter writes with the length of the example
    as a constant, and leaves some sixty nodes about shapes for each layer.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Redirects attention; every other function is left alone."""
        kwargs = kwargs or {}
        if func is multi_head_attention_forward:
            call = _SIGNATURE.bind(*args, **kwargs)
            call.apply_defaults()
            if not _is_odd(call.arguments):
                return _attention(call.arguments)
        return func(*args, **kwargs)


def _is_odd(call: Mapping[str, Any]) -> bool:
    """Whether the call asks for what only PyTorch's own form does."""
    return (
        call["training"]
        or call["in_proj_weight"] is None
        or call["query"].dim() != 3
        or call["add_zero_attn"]
        or any(call[name] is not None for name in ("bias_k", "static_k", "static_v"))
    )


def _attention(call: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """What ``multi_head_attention_forward`` computes for a query of shape (L, B, E) in eval mode."""
    query, heads, features = call["query"], call["num_heads"], call["embed_dim_to_check"]
    q, k, v = _projected((query, call["key"], call["value"]), call["in_proj_weight"], call["in_proj_bias"], heads)
    scores = (q @ k.transpose(-2, -1)) * (features // heads) ** -0.5
    if call["attn_mask"] is not None:
        mask = _additive(call["attn_mask"], scores)  # (L, S), or (B heads, L, S)
        scores = scores + (mask if mask.dim() == 2 else mask.reshape(-1, heads, *mask.shape[1:]))
    if call["key_padding_mask"] is not None:
        scores = scores + _additive(call["key_padding_mask"], scores)[:, None, None]
    weights = torch.softmax(scores, -1)
    mixed = (weights @ v).permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], features)
    result = linear(mixed, call["out_proj_weight"], call["out_proj_bias"])
    if not call["need_weights"]:
        return result, None
    return result, weights.mean(1) if call["average_attn_weights"] else weights


def _projected(
    inputs: tuple[Tensor, Tensor, Tensor], weight: Tensor, bias: Tensor | None, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, heads, L, E / heads)."""
    if inputs[0] is inputs[1] and inputs[1] is inputs[2]:
        packed = linear(inputs[0], weight, bias)
        packed = packed.reshape(packed.shape[0], packed.shape[1], 3, heads, -1).permute(2, 1, 3, 0, 4)
        return packed[0], packed[1], packed[2]
    biases = (None, None, None) if bias is None else bias.chunk(3)
    projected = [linear(x, w, b) for x, w, b in zip(inputs, weight.chunk(3), biases, strict=True)]
    q, k, v = (p.reshape(p.shape[0], p.shape[1], heads, -1).permute(1, 2, 0, 3) for p in projected)
    return q, k, v


def _additive(mask: Tensor, scores: Tensor) -> Tensor:
    """A mask as what is added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, float("-inf"))
