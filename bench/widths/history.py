"""Which channels a model has kept, step by step: with the weights, all that it takes to build it again."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

#: the plain attribute that a model carries its history in; a copy of the model carries it as well
_ATTRIBUTE = "_kept_channels"

#: by name of the group the channels that stayed, for those groups that lost any
Kept = dict[str, list[int]]


def kept_channels(model: nn.Module) -> list[Kept]:
    """What every ``Widths.keep`` on the way from the dense model to this one left, in order; empty if none has."""
    return [dict(step) for step in model.__dict__.get(_ATTRIBUTE, [])]


def remember(small: nn.Module, before: nn.Module, dead: Mapping[str, Tensor]) -> nn.Module:
    """Note on the smaller model what it was made from.

    Args:
        small: the model after the cut.
        before: the model before it.
        dead: by group a mask of the channels that went, (size,).
    """
    step: Any = {name: (~mask).nonzero().flatten().tolist() for name, mask in dead.items() if bool(mask.any())}
    small.__dict__[_ATTRIBUTE] = [*kept_channels(before), *([step] if step else [])]
    return small
