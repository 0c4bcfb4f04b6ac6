"""The groups of channels that must be kept or removed together, read off the trace of one pass."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from bench.widths.flexible import PROJECTIONS, RECURRENT, FlexibleAttention, Selection
from bench.widths.operators import HANDLERS
from bench.widths.trace import INPUT, PINNED, Labels, Product, Trace, follow

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
#: channels that a LayerNorm needs to say anything
LEAST_NORMALISED = 4
#: layers at whose inputs a gate can be attached
CONSUMERS = (*CONVOLUTIONS, nn.Linear, *RECURRENT, FlexibleAttention)


@dataclass(frozen=True, eq=False)
class Part:
    """Where channels of a group lie: entries of one axis of a parameter, a buffer, or the model's input."""

    tensor: str  # its qualified name
    axis: int
    positions: Tensor  # (n,) indices along the axis
    channels: Tensor  # (n,) which channel of the group stands at each position; a flattened map repeats channels

    @property
    def layer(self) -> str:
        return self.tensor.rpartition(".")[0]

    @property
    def parameter(self) -> str:
        return self.tensor.rpartition(".")[2]

    @property
    def by_channel(self) -> Tensor:
        """The positions of channel 0, then those of channel 1, ..."""
        return self.positions[self.channels.argsort(stable=True)]


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that live and die together: a residual stream is one group across all its blocks.

    It is named after the first layer, in the order of the model, that produces it; ``input`` for bands of the input,
    ``<layer>.heads`` for attention heads, ``<layer>.l0`` for the hidden state of a recurrent layer. ``recurrent``
    channels feed themselves: a gate on them sees columns of recurrent weights and must be the same for all examples.
    """

    name: str
    size: int
    producers: tuple[Part, ...]  # weights whose outputs are these channels
    consumers: tuple[Part, ...]  # weights whose inputs are these channels; gates are attached to their layers
    parts: tuple[Part, ...] = field(repr=False)
    recurrent: bool = False
    least: int = 1  # that are always kept: a LayerNorm over one or two leaves nothing of them


@dataclass(frozen=True, eq=False)
class Graph:
    """All groups of a model, in its order, and the products that its costs are made of."""

    groups: tuple[Group, ...]
    products: tuple[Product, ...]
    group_of: Labels  #: for every atom the index of its group, or -1, (atoms,)


def build_graph(model: nn.Module, example_input: Tensor, input_axis: int | None = None) -> Graph:
    """Follow a model of flexible layers once, and sort its channels into groups. The outputs are no group."""
    trace = follow(model, example_input, input_axis, HANDLERS)
    modules, products = dict(model.named_modules()), tuple(trace.products.values())
    for product in products:  # a gate can only be attached to a layer that is known
        if product.axis is not None and not isinstance(modules[product.weight.rpartition(".")[0]], CONSUMERS):
            trace.atoms.pin(product.read)
    order = {name: i for i, name in enumerate(modules)}
    groups = [_group(trace, roots, order) for roots in _alike(trace)]
    groups.sort(key=lambda group: order[group.producers[0].layer] if group.producers else -1)
    group_of = np.full(len(trace.atoms), -1, dtype=np.int64)
    named: dict[str, Group] = {}
    # a selection around a model is no part of the names: a group is called the same before and after it
    prefix = "model." if isinstance(model, Selection) else ""
    for index, group in enumerate(groups):
        names = [_name_of(part).removeprefix(prefix) for part in group.producers] or [INPUT]
        name = next((name for name in names if name not in named), f"{names[0]}.{len(named)}")
        named[name] = replace(group, name=name)
        for part in group.parts:
            group_of[trace.axes[part.tensor, part.axis][part.positions.numpy()]] = index
    return Graph(tuple(named.values()), products, group_of)


def _alike(trace: Trace) -> list[Labels]:
    """The channels that something makes and something reads, sorted into those that nothing tells apart.

    Channels are alike when they lie, as many times, on the same axes: behind a concatenation each part can shrink on
    its own, at a cost of its own, so each is a group.
    """
    places: dict[int, list[tuple[str, int, int]]] = defaultdict(list)

    def note(atoms: Labels, kind: str, number: int) -> None:
        for root, count in zip(*np.unique(trace.atoms.roots(atoms), return_counts=True), strict=True):
            places[int(root)].append((kind, number, int(count)))

    for (tensor, axis), atoms in trace.axes.items():
        note(atoms, tensor, axis)
    for i, product in enumerate(trace.products.values()):
        note(product.read, "read", i)
        note(product.made, "made", i)
    alike: dict[tuple[tuple[str, int, int], ...], list[int]] = defaultdict(list)
    for root, found in places.items():
        kinds = {kind for kind, _, _ in found}
        if root > PINNED and "read" in kinds and (kinds & {"made", INPUT}):
            alike[tuple(found)].append(root)
    return [np.array(sorted(roots)) for roots in alike.values()]


def _group(trace: Trace, roots: Labels, order: dict[str, int]) -> Group:
    parts: dict[tuple[str, int | None], Part] = {}
    for (tensor, axis), atoms in trace.axes.items():
        own = trace.atoms.roots(atoms)
        positions = np.flatnonzero(np.isin(own, roots))
        if len(positions):
            channels = np.searchsorted(roots, own[positions])
            parts[tensor, axis] = Part(tensor, axis, torch.from_numpy(positions), torch.from_numpy(channels))
    products = trace.products.values()
    read = {(product.weight, product.axis) for product in products}
    made = {(product.weight, 1 if product.axis == 0 else 0) for product in products}
    consumers, producers = (
        tuple(sorted((parts[at] for at in places & parts.keys()), key=lambda part: (order[part.layer], part.tensor)))
        for places in (read, made)
    )
    recurrent = any(part.parameter.startswith("weight_hh") for part in consumers)
    normalised = any(part.layer in trace.norms for part in parts.values())
    least = min(len(roots), LEAST_NORMALISED if normalised else 1)
    return Group("", len(roots), producers, consumers, tuple(parts.values()), recurrent, least)


def _name_of(part: Part) -> str:
    own = part.parameter
    if own.startswith(("weight_ih_", "weight_hh_")):  # of a recurrent layer, which has several
        own = own.split("_", 2)[2]
    elif own in PROJECTIONS:
        own = "heads"
    else:
        return part.layer
    return f"{part.layer}.{own}".lstrip(".")
