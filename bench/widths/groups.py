"""The groups of channels that must be kept or removed together, read off the trace of one run."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.widths.flexible import RECURRENT, FlexibleAttention, Selection
from bench.widths.operators import HANDLERS
from bench.widths.trace import INPUT, PINNED, Axis, Labels, Product, Trace, follow

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
#: channels that a LayerNorm needs to say anything
LEAST_NORMALISED = 4
#: layers at whose inputs a gate can be attached
CONSUMERS = (*CONVOLUTIONS, nn.Linear, *RECURRENT, FlexibleAttention)


@dataclass(frozen=True, eq=False)
class Member:
    """A layer whose axis carries channels of a group.

    Attributes:
        layer: qualified name of the module.
        parameter: name of its weight.
        positions: (n,) indices along the axis of the weight.
        channels: (n,) which channel of the group stands at each position; a flattened map repeats channels.
        axis: of the weight.
    """

    layer: str
    parameter: str
    positions: Tensor
    channels: Tensor
    axis: int = 1


@dataclass(frozen=True, eq=False)
class Part:
    """What goes when a channel goes: entries of one axis of a parameter, a buffer, or the model's input."""

    tensor: str
    axis: int
    positions: Tensor
    channels: Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that live and die together: a residual stream is one group across all its blocks.

    Attributes:
        name: the first layer, in the order of the model, that produces the group; ``input`` for bands of the input,
            ``<layer>.heads`` for attention heads, ``<layer>.l0`` for the hidden state of a recurrent layer.
        size: number of channels.
        producers: layers whose outputs are these channels.
        consumers: layers whose inputs are these channels; gates are attached there.
        parts: all that belongs to the channels.
        recurrent: the channels feed themselves inside a recurrence: a gate on them sees columns of the recurrent
            weights and must be the same for all examples.
        least: fewer channels than this are never kept: a LayerNorm over one or two leaves nothing of them.
    """

    name: str
    size: int
    producers: tuple[Member, ...]
    consumers: tuple[Member, ...]
    parts: tuple[Part, ...] = field(repr=False)
    recurrent: bool = False
    least: int = 1


@dataclass(frozen=True, eq=False)
class Graph:
    """All groups of a model, and the products that its costs are made of.

    Attributes:
        groups: in the order of the model.
        products: every product of the run.
        norms: for each LayerNorm over channels, those channels, (length,).
        group_of: for every atom the index of its group, or -1, (atoms,).
    """

    groups: tuple[Group, ...]
    products: tuple[Product, ...]
    norms: dict[str, Labels]
    group_of: Labels


def build_graph(model: nn.Module, example_input: Tensor, input_axis: int | None = None) -> Graph:
    """Follow a model of flexible layers once, and sort its channels into groups. The outputs are no group."""
    trace = follow(
        model, example_input, input_axis=input_axis, handlers=HANDLERS, prepare=lambda trace: _join_heads(model, trace)
    )
    modules = dict(model.named_modules())
    for product in trace.products:  # a gate can only be attached to a layer that is known
        if product.axis is not None and not isinstance(modules[split_name(product.weight)[0]], CONSUMERS):
            trace.atoms.pin(product.read)
    order = {name: i for i, name in enumerate(modules)}
    found = [(roots, _group(trace, roots, order)) for roots in _alike(trace)]
    found.sort(key=lambda item: order[item[1].producers[0].layer] if item[1].producers else -1)
    group_of = np.full(len(trace.atoms), -1, dtype=np.int64)
    everything = trace.atoms.roots(np.arange(len(trace.atoms)))
    names: set[str] = set()
    groups = []
    for index, (roots, group) in enumerate(found):
        group_of[np.isin(everything, roots)] = index
        groups.append(_named(group, names, "model." if isinstance(model, Selection) else ""))
    return Graph(tuple(groups), tuple(trace.products), trace.norms, group_of)


def split_name(tensor: str) -> tuple[str, str]:
    """The name of the layer, and what its parameter is called there."""
    layer, _, own = tensor.rpartition(".")
    return layer, own


def _join_heads(model: nn.Module, trace: Trace) -> None:
    """All rows of the projections that belong to one head of an attention layer are one channel."""
    for name, module in model.named_modules():
        if isinstance(module, FlexibleAttention):
            prefix = f"{name}." if name else ""
            if module.in_proj_weight is not None:
                rows = trace.axes[f"{prefix}in_proj_weight"][0].atoms.reshape(3, -1, module.head_dim)
            else:
                own = [trace.axes[f"{prefix}{part}_proj_weight"][0].atoms for part in "qkv"]
                rows = np.stack(own).reshape(3, -1, module.head_dim)
            for head in range(rows.shape[1]):
                trace.atoms.join_all(rows[:, head].ravel())


def _alike(trace: Trace) -> list[Labels]:
    """The channels that something makes and something reads, sorted into those that nothing tells apart.

    Channels are alike when they lie, as many times, on the same axes: behind a concatenation each part can shrink on
    its own, at a cost of its own, so each is a group.
    """
    places: dict[int, list[tuple[str, int, int]]] = defaultdict(list)

    def note(atoms: Labels, kind: str, number: int) -> None:
        for root, count in zip(*np.unique(trace.atoms.roots(atoms), return_counts=True), strict=True):
            places[int(root)].append((kind, number, int(count)))

    for axis in (axis for own in trace.axes.values() for axis in own):
        note(axis.atoms, axis.tensor, axis.number)
    for i, product in enumerate(trace.products):
        note(product.read, "read", i)
        note(product.made, "made", i)
    alike: dict[tuple[tuple[str, int, int], ...], list[int]] = defaultdict(list)
    for root, found in places.items():
        kinds = {kind for kind, _, _ in found}
        if root > PINNED and "read" in kinds and (kinds & {"made", INPUT}):
            alike[tuple(found)].append(root)
    return [np.array(sorted(roots)) for roots in alike.values()]


def _group(trace: Trace, roots: Labels, order: dict[str, int]) -> Group:
    parts = [part for own in trace.axes.values() for axis in own if (part := _part(trace, axis, roots))]
    by_place = {(part.tensor, part.axis): part for part in parts}
    read = {(p.weight, p.axis) for p in trace.products if p.axis is not None}
    made = {(p.weight, _made_axis(p)) for p in trace.products if p.weight}
    consumers, producers = (
        tuple(sorted((_member(by_place[at]) for at in places & by_place.keys()), key=lambda m: order[m.layer]))
        for places in (read, made)
    )
    recurrent = any(member.parameter.startswith("weight_hh") for member in consumers)
    normalised = any(split_name(part.tensor)[0] in trace.norms for part in parts)
    least = min(len(roots), LEAST_NORMALISED if normalised else 1)
    return Group("", len(roots), producers, consumers, tuple(parts), recurrent, least)


def _made_axis(product: Product) -> int:
    """The axis of a weight that its results lie along."""
    return 1 if product.axis == 0 else 0


def _part(trace: Trace, axis: Axis, roots: Labels) -> Part | None:
    own = trace.atoms.roots(axis.atoms)
    positions = np.flatnonzero(np.isin(own, roots))
    if not len(positions):
        return None
    channels = np.searchsorted(roots, own[positions])
    return Part(axis.tensor, axis.number, torch.from_numpy(positions), torch.from_numpy(channels))


def _member(part: Part) -> Member:
    return Member(*split_name(part.tensor), part.positions, part.channels, part.axis)


def _named(group: Group, taken: set[str], prefix: str) -> Group:
    """The group with a name that no other has, after the first layer that produces it.

    A selection around a model is no part of the names, so that a group is called the same before and after it.
    """
    names = [_name(member).removeprefix(prefix) for member in group.producers] or [INPUT]
    name = next((n for n in names if n not in taken), None) or f"{names[0]}.{len(taken)}"
    taken.add(name)
    return replace(group, name=name)


def _name(member: Member) -> str:
    own = member.parameter
    if own.startswith("weight_"):  # of a recurrent layer, which has several
        own = own.split("_", 2)[2]
    elif own in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        own = "heads"
    else:
        return member.layer
    return f"{member.layer}.{own}" if member.layer else own


#: (module, attribute) -> the group whose size the number is
Attributes = dict[tuple[str, str], str]

MOST = 200  # combinations to try


def find_attributes(model: nn.Module, groups: Sequence[Group], holds: Callable[[Attributes], bool]) -> Attributes:
    """Which numbers have to follow which group, so that removal does what masking does.

    Most models need none. Some slice or reshape by a number of their own; which group it belongs to cannot be read
    off the number, so it is tried.

    Args:
        model: of flexible layers.
        groups: of the model.
        holds: whether removal equals masking with these attributes.

    Raises:
        BenchError: it does so with none of them.
    """
    if holds({}):
        return {}
    candidates = {
        (name, attribute): [group.name for group in groups if group.size == value]
        for name, module in model.named_modules()
        if not type(module).__module__.startswith(("torch.nn", "bench.widths"))
        for attribute, value in vars(module).items()
        if type(value) is int and any(group.size == value for group in groups)
    }
    tries = itertools.product(*([None, *owners] for owners in candidates.values()))
    for chosen in itertools.islice(tries, MOST):
        attributes = {place: owner for place, owner in zip(candidates, chosen, strict=True) if owner is not None}
        if attributes and holds(attributes):
            return attributes
    raise BenchError(f"the width graph cannot follow what {type(model).__name__} does between its layers")
