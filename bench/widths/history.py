"""What was done to the structure of a model, step by step, so that it can be done again."""

from typing import Any, Literal

from torch import nn

#: the plain attribute that a model carries its history in; a copy of the model carries it as well
_ATTRIBUTE = "_structure_steps"

Change = Literal["kept_channels", "ranks"]
#: one change: of which groups which channels were kept, or which layers became two, and of which rank
Step = dict[Change, dict[str, Any]]


def steps_of(model: nn.Module) -> list[Step]:
    """What led from the dense model to this one, in this order, as far as the engine has done it."""
    return [*model.__dict__.get(_ATTRIBUTE, [])]


def remember(model: nn.Module, before: nn.Module, change: Change, what: dict[str, Any]) -> None:
    """Let a model carry the history of the one it was made from, and this change unless it is none."""
    model.__dict__[_ATTRIBUTE] = [*steps_of(before), *([{change: what}] if what else [])]
