"""The groups of channels that must be kept or removed together, from torch-pruning's dependency graph."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
COSTLY = (*CONVOLUTIONS, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, eq=False)
class Member:
    """A layer whose axis carries channels of a group.

    Attributes:
        layer: qualified name of the module.
        positions: (n,) indices along the axis of the layer.
        channels: (n,) which channel of the group stands at each position; a flattened map repeats channels.
    """

    layer: str
    positions: Tensor
    channels: Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that live and die together: a residual stream is one group across all its blocks.

    Attributes:
        name: the first layer, in the order of the model, that produces the group.
        size: number of channels.
        root: the layer that removal is started from.
        root_channels: (size,) the output channels of ``root`` that these channels are.
        producers: layers whose outputs are these channels.
        consumers: layers whose inputs are these channels; gates are attached there.
    """

    name: str
    size: int
    root: str
    root_channels: Tensor
    producers: tuple[Member, ...]
    consumers: tuple[Member, ...]


def build_graph(model: nn.Module, example_input: Tensor) -> Any:
    """torch-pruning's dependency graph of a model, which must consist of layers that the graph can follow."""
    import torch_pruning

    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None)
        if own is not None and not _is_known(module):
            raise BenchError(
                f"the width graph does not know the operator {type(module).__name__} (layer {name!r}); known are "
                f"{', '.join(kind.__name__ for kind in (*COSTLY, *NORMS))}, convolutions ungrouped or depthwise"
            )
    with warnings.catch_warnings(), torch.enable_grad():  # the graph is read off autograd's
        warnings.simplefilter("ignore")
        return torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example_input)


def find_groups(model: nn.Module, graph: Any) -> tuple[Group, ...]:
    """All groups that something consumes, in the order of the model. The model's outputs are no such group."""
    names = {module: name for name, module in model.named_modules()}
    order = {name: index for index, name in enumerate(names.values())}
    groups: list[Group] = []
    for found in graph.get_all_groups(root_module_types=list(COSTLY)):
        producers, consumers = _members(found, names)
        producers.sort(key=lambda member: order[member.layer])
        consumers.sort(key=lambda member: order[member.layer])
        root = names[found[0].dep.target.module]
        for channels in _alike(len(found[0].idxs), producers + consumers):
            made = [part for member in producers if (part := _restricted(member, channels))]
            read = [part for member in consumers if (part := _restricted(member, channels))]
            if read:
                name = next(
                    (m.layer for m in made if m.layer not in {g.name for g in groups}),
                    f"{root}.{len(groups)}",
                )
                groups.append(Group(name, len(channels), root, channels, tuple(made), tuple(read)))
    return tuple(sorted(groups, key=lambda group: order[group.producers[0].layer]))


def coupled(graph: Any, model: nn.Module, root: str, channels: list[int] | None = None) -> Any:
    """torch-pruning's own group object for output channels of a root (all unless given): it can score and remove."""
    module = model.get_submodule(root)
    channels = list(range(graph.get_out_channels(module))) if channels is None else channels
    return graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, channels)


def is_depthwise(module: nn.Module) -> bool:
    """Whether every output channel of a convolution reads one input channel."""
    return isinstance(module, CONVOLUTIONS) and module.groups == module.in_channels == module.out_channels > 1


def _is_known(module: nn.Module) -> bool:
    if isinstance(module, CONVOLUTIONS):
        return module.groups == 1 or is_depthwise(module)
    return isinstance(module, (nn.Linear, *NORMS))


def _members(found: Any, names: dict[nn.Module, str]) -> tuple[list[Member], list[Member]]:
    producers: list[Member] = []
    consumers: list[Member] = []
    for item in found:
        module = item.dep.target.module
        if not isinstance(module, COSTLY):
            continue
        member = Member(names[module], torch.tensor(item.idxs), torch.tensor(item.root_idxs))
        (consumers if item.dep.handler.__name__ == "prune_in_channels" else producers).append(member)
    return producers, consumers


def _alike(size: int, members: list[Member]) -> list[Tensor]:
    """The channels that torch-pruning couples, split where not all members carry all of them.

    Behind a concatenation each part can shrink on its own, at a cost of its own, so each is a group.
    """
    counts = torch.stack([torch.bincount(member.channels, minlength=size) for member in members])
    kinds, kind = torch.unique(counts, dim=1, return_inverse=True)
    return sorted((torch.nonzero(kind == k).flatten() for k in range(kinds.shape[1])), key=lambda c: int(c[0]))


def _restricted(member: Member, channels: Tensor) -> Member | None:
    """The member with these channels only, numbered anew; None when it carries none of them."""
    here = torch.isin(member.channels, channels)
    if not here.any():
        return None
    return Member(member.layer, member.positions[here], torch.searchsorted(channels, member.channels[here]))
