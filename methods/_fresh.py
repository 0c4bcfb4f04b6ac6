"""A narrower network as if it had been drawn at this size."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Rule = Callable[[Tensor], Tensor]

#: how authors draw weights (at least 2 axes) if not as the layer does by itself; the spread follows from the sizes
RULES: tuple[Rule, ...] = (
    partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
    partial(nn.init.kaiming_uniform_, mode="fan_in", nonlinearity="relu"),
    nn.init.xavier_uniform_,
    nn.init.xavier_normal_,
)


@torch.no_grad()
def redrawn(narrow: nn.Module, dense: nn.Module) -> nn.Module:
    """The narrow model, its parameters drawn for its sizes by the rules that the fresh dense model was drawn by.

    Which rule that was is seen by drawing again: a parameter that looks like what its layer draws by itself, or like
    one of ``RULES``, is drawn anew by it. All others keep the numbers of the channels that are left: constants, and
    what has no regard to sizes, such as a fixed standard deviation.

    Args:
        narrow: cut from the dense model; changed in place.
        dense: fresh, as its author drew it.
    """
    wide, small = (list(copy.deepcopy(m).apply(_reset).parameters()) for m in (dense, narrow))
    for first, again, cut, own in zip(dense.parameters(), wide, narrow.parameters(), small, strict=True):
        if _alike(first, again):
            cut.copy_(own)
        elif rule := next((r for r in RULES if first.dim() > 1 and _alike(first, r(torch.empty_like(first)))), None):
            rule(cut)
    return narrow


def _reset(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):  # of the children first: attention has the last word on its output's bias
        module.reset_parameters()  # type: ignore[operator]


def _alike(first: Tensor, again: Tensor) -> bool:
    """Whether two tensors of a shape are probably draws of one random rule.

    They are not if their root mean squares differ, or their distributions (Kolmogorov-Smirnov), more than draws of one
    normal rule do in one of a thousand cases. A constant is nobody's draw.
    """
    if first.min() == first.max():
        return False
    from scipy.stats import ks_2samp  # a second to import

    both = torch.stack([first.flatten(), again.flatten()]).double()
    apart = both.square().mean(1).log().diff().abs() / 2
    return (
        bool(apart <= 3.3 * first.numel() ** -0.5)
        and ks_2samp(both[0].numpy(), both[1].numpy(), method="asymp").pvalue > 0.001
    )


def evenly(count: int) -> Tensor:
    """Positions 0 to count - 1 in an order whose every beginning is spread over the whole range, shape (count,)."""
    rank, order = torch.arange(count), torch.zeros(count)
    for bit in range(count.bit_length()):  # van der Corput: the digits of the rank, mirrored
        order += ((rank >> bit) & 1) * 0.5 ** (bit + 1)
    return order.argsort()
