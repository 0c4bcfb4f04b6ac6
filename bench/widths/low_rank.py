"""Layers of low rank: one layer to ``rank`` channels and one from there to the outputs, in place of one."""

import copy
from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.widths.flexible import make_flexible
from bench.widths.history import remember

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def factorizable(model: nn.Module) -> dict[str, Tensor]:
    """The weights of all layers that ``factorized`` can replace, by layer, as matrices (outputs, inputs * taps).

    They are linear layers and convolutions without groups. A kind derived from these may be read by its parameters
    rather than called, as the output projection of an attention layer is, so it is none of them.
    """
    return {
        name: layer.weight.detach().flatten(1) for name, layer in model.named_modules() if name and _is_plain(layer)
    }


def factorized(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """A copy of a model in which the named layers are the best approximations of these ranks, of two layers each.

    A weight W (outputs, inputs * taps) becomes U sqrt(S) and sqrt(S) V of its truncated singular value decomposition
    (Eckart and Young 1936). Of a convolution the first layer has all taps, the stride, padding and dilation, the second
    is pointwise. The copy remembers the ranks, so that the audit can build it again.

    Raises:
        BenchError: a name that is not in ``factorizable(model)``, or a rank that its matrix cannot have.
    """
    small, matrices = with_ranks(model, ranks), factorizable(model)
    with torch.no_grad():
        for name, rank in ranks.items():
            first, second = (small.get_parameter(f"{name}.{place}.weight") for place in (0, 1))
            left, values, right = torch.linalg.svd(matrices[name].double(), full_matrices=False)
            roots = values[:rank].sqrt()
            first.copy_((roots[:, None] * right[:rank]).view_as(first))
            second.copy_((left[:, :rank] * roots).view_as(second))
            if model.get_submodule(name).bias is not None:
                small.get_parameter(f"{name}.1.bias").copy_(model.get_parameter(f"{name}.bias"))
    return small


def with_ranks(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """The structure of ``factorized`` alone: the weights of the new layers are not those of the old ones."""
    matrices = factorizable(model)
    for name, rank in ranks.items():
        if name not in matrices:
            raise BenchError(f"no layer {name!r} can be factorized; those that can: {', '.join(matrices) or 'none'}")
        if not 1 <= rank <= min(matrices[name].shape):
            raise BenchError(f"layer {name!r} has ranks from 1 to {min(matrices[name].shape)}, not {rank}")
    small = copy.deepcopy(model)
    make_flexible(small)  # PyTorch's own encoder layer would read the weights of its linear layers
    for name, rank in ranks.items():
        parent, _, own = name.rpartition(".")
        setattr(small.get_submodule(parent), own, _pair(small.get_submodule(name), rank))
    remember(small, model, "ranks", dict(ranks))
    return small


def _is_plain(layer: nn.Module) -> TypeGuard[Layer]:
    return type(layer) is nn.Linear or (type(layer) in (nn.Conv1d, nn.Conv2d) and bool(layer.groups == 1))


def _pair(layer: nn.Module, rank: int) -> nn.Sequential:
    """Two layers of the shapes that this one becomes, where and in the mode that it is."""
    assert _is_plain(layer)
    kind: Any = type(layer)
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        pair = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias)
    else:
        taps: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        first = kind(layer.in_channels, rank, *taps, bias=False, padding_mode=layer.padding_mode)
        pair = first, kind(rank, layer.out_channels, 1, bias=bias)
    return nn.Sequential(*pair).to(layer.weight).train(layer.training)
