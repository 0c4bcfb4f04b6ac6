"""The physically smaller model: rows and columns cut out of every parameter and buffer that carries a dead channel."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.widths.flexible import RECURRENT, FlexibleAttention, Selection
from bench.widths.groups import CONVOLUTIONS, Group
from bench.widths.history import remember
from bench.widths.trace import INPUT

#: (module, attribute) -> the group whose size the number is
Attributes = dict[tuple[str, str], str]

COMBINATIONS = 200  # of attributes and groups to try


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
    for (name, attribute), owner in attributes.items():
        setattr(small.get_submodule(name), attribute, int((~dead[owner]).sum()))
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
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if (kept := module.running_mean if module.weight is None else module.weight) is not None:
            module.num_features = len(kept)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, RECURRENT):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
        module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
    elif isinstance(module, FlexibleAttention):
        output = [own.weight for own in module.out_proj.modules() if isinstance(own, nn.Linear)]  # two of low rank
        module.embed_dim, module.num_heads = len(output[-1]), output[0].shape[1] // module.head_dim
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]


def _narrowed(model: nn.Module, axis: int, dead: Tensor, groups: Sequence[Group]) -> nn.Module:
    """The model behind a selection of the input; a model that selects already selects less."""
    bands = torch.cat([part.positions for group in groups for part in group.parts if part.tensor == INPUT])
    live = bands[~torch.isin(bands, dead)].sort().values
    if not isinstance(model, Selection):
        return Selection(model, axis, live)
    return Selection(model.model, axis, model.indices[torch.isin(model.indices, live)])


def find_attributes(model: nn.Module, groups: Sequence[Group], holds: Callable[[Attributes], bool]) -> Attributes:
    """Which numbers have to follow which group, so that removal does what masking does.

    Most models need none. Some slice or reshape by a number of their own; which group it belongs to cannot be read
    off the number, so it is tried.

    Args:
        model: of flexible layers.
        groups: all of its groups.
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
    for chosen in itertools.islice(tries, COMBINATIONS):
        attributes = {place: owner for place, owner in zip(candidates, chosen, strict=True) if owner is not None}
        if attributes and holds(attributes):
            return attributes
    raise BenchError(f"the width graph cannot follow what {type(model).__name__} does between its layers")
