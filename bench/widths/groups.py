"""The groups of channels that must be kept or removed together, read off the trace of one pass."""

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from bench.widths.flexible import PROJECTIONS, RECURRENT, FlexibleAttention, Selection
from bench.widths.labels import Labels
from bench.widths.operators import HANDLERS
from bench.widths.trace import INPUT, PINNED, Product, Trace, follow

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: channels that a LayerNorm needs to say anything
LEAST_NORMALISED = 4


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
    norms: Mapping[str, int]  #: layers that normalise, and the axis of their input that they take statistics over
    pinned: Mapping[str, str]  #: weights of which channels must stay, and the operator and layer that this is due to


def build_graph(model: nn.Module, example_input: Tensor, input_axis: int | None = None) -> Graph:
    """Follow a model of flexible layers once, and sort its channels into groups. The outputs are no group."""
    trace = follow(model, example_input, input_axis, HANDLERS)
    modules, products = dict(model.named_modules()), tuple(trace.products.values())
    for product in products:  # a gate can only be attached to a layer that is known
        layer = product.weight.rpartition(".")[0]
        if product.axis is not None and not _can_be_gated(modules[layer]):
            trace.atoms.cause = f"the weight {product.weight!r}, which is not of a layer that only multiplies by it"
            trace.atoms.pin(product.read)
    order = {name: i for i, name in enumerate(modules)}
    at = {place: trace.atoms.roots(atoms) for place, atoms in trace.axes.items()}
    groups = [_group(trace, at, roots, order) for roots in _alike(trace)]
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
    pinned = {}
    for product in products:
        causes = [trace.atoms.cause_of(int(atoms[0])) for atoms in (product.made, product.read) if len(atoms)]
        pinned[product.weight] = "; ".join(dict.fromkeys(filter(None, causes)))
    return Graph(tuple(named.values()), products, group_of, trace.norms, {w: why for w, why in pinned.items() if why})


def tied(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with some groups made one wherever layers of the same module are theirs.

    Handwritten attention turns ``C`` features into heads and back by reshaping to ``C``, the width of its input: then a
    head can go only together with its share of that width. One channel of such a group is an equal share of each of its
    members, and it has as many as their sizes allow.
    """
    members = [(index, group) for index, group in enumerate(graph.groups) if group.name in names]
    members.sort(key=lambda member: member[1].size)  # heads first, then the widths that they are shares of
    modules = {group.name: {part.layer.rpartition(".")[0] for part in group.parts} for _, group in members}
    clusters: list[list[tuple[int, Group]]] = []
    for member in members:
        own = member[1]
        near = [
            c for c in clusters if any(own.size % o.size == 0 and modules[own.name] & modules[o.name] for _, o in c)
        ]
        clusters = [c for c in clusters if c not in near] + [[*itertools.chain(*near), member]]
    groups, index_of = list(graph.groups), np.arange(-1, len(graph.groups))  # the last is that of no group, -1
    for cluster in clusters:
        size = math.gcd(*(group.size for _, group in cluster))
        if len(cluster) > 1 and size > 1:
            first, *rest = sorted(index for index, _ in cluster)
            groups[first] = _as_one([graph.groups[index] for index in (first, *rest)], size)
            index_of[np.array(rest) + 1] = first
    left = sorted(set(index_of[1:].tolist()))
    order = np.array([-1, *(left.index(index) for index in index_of[1:])])
    return replace(graph, groups=tuple(groups[index] for index in left), group_of=order[graph.group_of + 1])


def _as_one(groups: Sequence[Group], size: int) -> Group:
    def shares(kind: str) -> tuple[Part, ...]:
        found: list[Part] = []
        for group in groups:
            own = getattr(group, kind)
            found += [replace(part, channels=part.channels // (group.size // size)) for part in own]
        return tuple(found)

    least = max(math.ceil(group.least * size / group.size) for group in groups)
    recurrent = any(group.recurrent for group in groups)
    return Group(groups[0].name, size, shares("producers"), shares("consumers"), shares("parts"), recurrent, least)


def _can_be_gated(layer: nn.Module) -> bool:
    """Whether what a weight of this layer reads is the layer's input: a gate is attached there."""
    matrices = [parameter for parameter in layer.parameters() if parameter.dim() > 1]
    return isinstance(layer, (*RECURRENT, FlexibleAttention)) or (not any(layer.children()) and len(matrices) == 1)


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
    return [np.array(sorted(roots)) for roots in alike.values() if len(roots) > 1]  # of one channel none can go


def _group(trace: Trace, at: Mapping[tuple[str, int], Labels], roots: Labels, order: dict[str, int]) -> Group:
    parts: dict[tuple[str, int | None], Part] = {}
    for (tensor, axis), own in at.items():
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
