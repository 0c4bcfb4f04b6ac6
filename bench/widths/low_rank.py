"""Products of low rank: one layer to ``rank`` channels and one from there to the outputs, in place of one."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.errors import BenchError
from bench.widths.flexible import PROJECTIONS, RECURRENT, FlexibleAttention, make_flexible
from bench.widths.history import remember

_ATTENTION = (nn.MultiheadAttention, FlexibleAttention)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RECURRENT = (nn.GRU, nn.LSTM, nn.RNN, *RECURRENT)


def factorizable(model: nn.Module) -> dict[str, str]:
    """The weights that ``factorized`` can make two of: names of parameters, by the name of what multiplies with them.

    These are linear layers and convolutions without groups, of attention ``<layer>.in_proj`` (queries, keys and values
    at once) and ``<layer>.out_proj``, and of recurrent layers what reads the inputs, such as ``<layer>.ih_l0``. What
    reads a hidden state stays, as one operator of PyTorch and of ONNX takes all time steps with one such matrix. Each
    is a matrix (outputs, inputs * taps) when its axes after the first are flattened.
    """
    found = {}
    for layer, module in model.named_modules():
        for product, weight in _products(module).items():
            found[f"{layer}.{product}".strip(".")] = f"{layer}.{weight}".strip(".")
    found.pop("", None)  # the model itself is one layer, which nothing holds
    return found


def factorized(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """A copy of a model in which the named products are the best approximations of these ranks, of two layers each.

    A weight W (outputs, inputs * taps) becomes U sqrt(S) and sqrt(S) V of its truncated singular value decomposition
    (Eckart and Young 1936). Of a convolution the first layer has all taps, the stride, padding and dilation, the second
    is pointwise; attention and recurrences have the first layer within. The copy remembers the ranks, so that the audit
    can build it again. The channels between the two are the width group ``<name>.0``.

    Raises:
        BenchError: a name that is not in ``factorizable(model)``, or a rank that its matrix cannot have.
    """
    small, weights = with_ranks(model, ranks), factorizable(model)
    old, new = (dict(m.named_parameters()) for m in (model, small))
    seconds = {name: f"{name}.1.weight" for name in ranks if weights[name] not in new}  # the others are where they were
    with torch.no_grad():
        for name, rank in ranks.items():
            first, second = new[f"{name}.0.weight"], new[seconds.get(name, weights[name])]
            left, values, right = torch.linalg.svd(old[weights[name]].flatten(1).double(), full_matrices=False)
            roots = values[:rank].sqrt()
            first.copy_((roots[:, None] * right[:rank]).view_as(first))
            second.copy_((left[:, :rank] * roots).view_as(second))
            if f"{name}.bias" in old:
                new[f"{name}.1.bias"].copy_(old[f"{name}.bias"])
    return small


def with_ranks(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """The structure of ``factorized`` alone: the weights of the new layers are not those of the old ones."""
    weights = factorizable(model)
    for name, rank in ranks.items():
        if name not in weights:
            raise BenchError(f"no layer {name!r} can be factorized; those that can: {', '.join(weights) or 'none'}")
        full = min(model.get_parameter(weights[name]).flatten(1).shape)
        if not 1 <= rank <= full:
            raise BenchError(f"layer {name!r} has ranks from 1 to {full}, not {rank}")
    small = copy.deepcopy(model)
    make_flexible(small)  # PyTorch's own attention and recurrences would not call a layer within
    for name, rank in ranks.items():
        parent, _, own = name.rpartition(".")
        layer = small.get_submodule(parent)
        if weights[name] == f"{name}.weight":
            setattr(layer, own, _pair(layer.get_submodule(own), rank))
        else:
            _reduce(layer, own, weights[name].rpartition(".")[2], rank)
    remember(small, model, "ranks", dict(ranks))
    return small


def _products(layer: nn.Module) -> dict[str, str]:
    """What a layer multiplies with, by name within it: the parameter.

    A kind derived from these may read its parameters in ways of its own, so it has none.
    """
    kind = type(layer)
    if kind is nn.Linear or (isinstance(layer, _CONVOLUTIONS) and kind in _CONVOLUTIONS):
        return {"": "weight"} if getattr(layer, "groups", 1) == 1 else {}
    if kind in _ATTENTION:
        inputs = {} if layer.in_proj_weight is None else {"in_proj": PROJECTIONS[0]}
        found = {**inputs, "out_proj": "out_proj.weight"}
    else:
        names = [name for name, _ in layer.named_parameters(recurse=False)] if kind in _RECURRENT else []
        found = {name.removeprefix("weight_"): name for name in names if name.startswith("weight_ih")}
    return {own: weight for own, weight in found.items() if not isinstance(getattr(layer, own, None), nn.Sequential)}


def _pair(layer: nn.Module, rank: int) -> nn.Sequential:
    """Two layers of the shapes that this one becomes, where and in the mode that it is."""
    kind: Any = type(layer)
    weight, bias = layer.get_parameter("weight"), layer.bias is not None
    if isinstance(layer, nn.Linear):
        pair: Any = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias)
    else:
        taps = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        first = kind(layer.in_channels, rank, *taps, bias=False, padding_mode=layer.padding_mode)
        pair = first, kind(rank, layer.out_channels, 1, bias=bias)
    return nn.Sequential(*pair).to(weight).train(layer.training)


def _reduce(layer: nn.Module, own: str, parameter: str, rank: int) -> None:
    """Let ``rank`` features reach a weight (outputs, inputs) of this layer, from a layer within it of this name."""
    weight = layer.get_parameter(parameter)
    first = nn.Sequential(nn.Linear(weight.shape[1], rank, bias=False)).to(weight).train(layer.training)
    setattr(layer, own, first)
    setattr(layer, parameter, nn.Parameter(weight.detach()[:, :rank].clone(), weight.requires_grad))
