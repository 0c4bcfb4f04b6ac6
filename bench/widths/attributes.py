"""Numbers that a model's own containers keep of a width, such as ``n_hidden``: found by trying, set on removal."""

import itertools
from collections.abc import Callable, Sequence

from torch import nn

from bench.errors import BenchError
from bench.widths.graph import Group

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
