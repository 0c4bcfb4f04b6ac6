"""The physically smaller model: rows and columns cut out of every parameter and buffer that carries a dead channel."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bench.widths.flexible import RECURRENT, FlexibleAttention, Selection
from bench.widths.groups import CONVOLUTIONS, Group
from bench.widths.history import remember
from bench.widths.trace import INPUT

#: (module, attribute) -> the group whose size the number is a multiple of, and which multiple
Attributes = dict[tuple[str, str], tuple[str, int]]

TRIES = 64  # of attributes that may follow a group


def without(model: nn.Module, groups: Sequence[Group], dead: Mapping[str, Tensor], attributes: Attributes) -> nn.Module:
    """A copy of a model of flexible layers without some channels, which remembers the channels that it kept.

    Args:
        model: the model.
        groups: all of its groups.
        dead: for each group a mask over its channels, (size,), true for what goes.
        attributes: numbers that modules keep of a width.
    """
    small = copy.deepcopy(model)
    cuts: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for group in groups:
        for part in group.parts if bool(dead[group.name].any()) else ():
            cuts[part.tensor, part.axis].append(part.positions[dead[group.name][part.channels]])
    grouped = {name: m.out_channels // m.groups for name, m in small.named_modules() if isinstance(m, CONVOLUTIONS)}
    selected = {axis: cuts.pop((tensor, axis)) for tensor, axis in list(cuts) if tensor == INPUT}
    for (tensor, axis), positions in cuts.items():
        _cut(small, tensor, axis, torch.cat(positions))
    for name, module in small.named_modules():
        _tell_sizes(module, grouped.get(name, 0))
    for (name, attribute), (owner, multiple) in attributes.items():
        setattr(small.get_submodule(name), attribute, multiple * int((~dead[owner]).sum()))
    for axis, positions in selected.items():
        small = _narrowed(small, axis, torch.cat(positions), groups)
    kept = {name: (~mask).nonzero().flatten().tolist() for name, mask in dead.items() if bool(mask.any())}
    remember(small, model, "kept_channels", kept)
    return small


def _cut(model: nn.Module, tensor: str, axis: int, dead: Tensor) -> None:
    layer, _, own = tensor.rpartition(".")
    module = model.get_submodule(layer)
    old = getattr(module, own)
    positions = torch.arange(old.shape[axis])
    new = old.detach().index_select(axis, positions[~torch.isin(positions, dead)].to(old.device))
    if isinstance(old, nn.Parameter):
        setattr(module, own, nn.Parameter(new, requires_grad=old.requires_grad))
    else:
        module.register_buffer(own, new, persistent=own not in module._non_persistent_buffers_set)


def _tell_sizes(module: nn.Module, outputs_per_group: int) -> None:
    """Bring the numbers that a layer keeps about itself in line with its weights."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, CONVOLUTIONS):
        rows, columns = module.weight.shape[:2]
        if module.transposed:
            module.in_channels, module.out_channels = rows, columns * module.groups
        else:
            module.groups = module.groups if module.groups == 1 else rows // outputs_per_group
            module.out_channels, module.in_channels = rows, columns * module.groups
    elif isinstance(module, _NormBase):
        if (kept := module.running_mean if module.weight is None else module.weight) is not None:
            module.num_features = len(kept)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_groups = len(module.weight) * module.num_groups // module.num_channels
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, RECURRENT):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
        module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
    elif isinstance(module, FlexibleAttention):
        output = [own.weight for own in module.out_proj.modules() if isinstance(own, nn.Linear)]  # two of low rank
        module.embed_dim, module.num_heads = len(output[-1]), output[0].shape[1] // module.head_dim
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]


def _narrowed(model: nn.Module, axis: int, dead: Tensor, groups: Sequence[Group]) -> nn.Module:
    """The model behind a selection of the input; a model that selects already selects less."""
    bands = torch.cat([part.positions for group in groups for part in group.parts if part.tensor == INPUT])
    live = bands[~torch.isin(bands, dead)].sort().values
    if not isinstance(model, Selection):
        return Selection(model, axis, live)
    return Selection(model.model, axis, model.indices[torch.isin(model.indices, live)])


def settle(
    model: nn.Module,
    groups: Sequence[Group],
    fault: Callable[[Sequence[Group], Attributes], str],
    found: tuple[Attributes, list[Group]],
) -> dict[str, str]:
    """Find the groups that can be cut so that removal does what masking does, and the numbers that must follow them.

    Most models need no such numbers. Some slice or reshape by a number of their own; which group it belongs to cannot
    be read off the number, so it is tried.

    Args:
        model: of flexible layers.
        groups: to be tried.
        fault: what goes wrong when these groups are cut with these attributes; empty if nothing.
        found: the attributes and the groups that are known to be right; more are added.

    Returns:
        For the groups that must stay as they are the reason, by name.
    """
    attributes, sound = found
    fixed: dict[str, str] = {}
    worked: list[tuple[str, ...]] = []

    def follow(group: Group, why: str) -> None:
        for names, guess in _guesses(model, group, worked):
            if not fault([*sound, group], {**attributes, **guess}):
                attributes.update(guess)
                sound.append(group)
                worked.insert(0, names)
                return
        fixed[group.name] = why

    def sort(part: Sequence[Group]) -> None:
        if not (why := fault([*sound, *part], attributes)):
            sound.extend(part)
        elif len(part) == 1:
            follow(part[0], why)
        else:
            sort(part[: len(part) // 2])
            sort(part[len(part) // 2 :])

    if groups:
        sort(groups)
    return fixed


def redrawn(model: nn.Module) -> nn.Module:
    """The model with other weights: its own may hide what is wrong (a last layer of zeros, a branch scaled by 1e-6)."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dim():
            drawn = torch.rand(parameter.shape, generator=generator)
            fan_in = parameter[0].numel()
            parameter.data.copy_(drawn + 0.5 if parameter.dim() == 1 else (drawn - 0.5) * (12 / fan_in) ** 0.5)
    return model


def _guesses(
    model: nn.Module, group: Group, worked: Sequence[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], Attributes]]:
    """Numbers that a group may have to be followed by, under the names that they have, the likely ones first.

    They are attributes of the modules around its layers, and the group's size or a multiple of it.
    """
    layers = {part.layer for part in (*group.producers, *group.consumers)}
    around = {".".join(own[:n]) for own in (layer.split(".") for layer in layers) for n in range(len(own) + 1)}
    places: dict[str, Attributes] = defaultdict(dict)
    for name in sorted(around, key=lambda name: -name.count(".")):
        module = model.get_submodule(name)
        for attribute, value in vars(module).items() if not _is_torchs(module) and group.size > 1 else ():
            if type(value) is int and value and value % group.size == 0:
                places[attribute][name, attribute] = group.name, value // group.size
    counts = range(1, len(places) + 1)
    tries = itertools.chain(worked, *(itertools.combinations(places, count) for count in counts))
    for names in itertools.islice(tries, TRIES):
        if all(name in places for name in names):
            yield names, {at: owner for name in names for at, owner in places[name].items()}


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.nn", "bench.widths"))
