"""A narrower network as if it had been drawn at this size."""

import torch
from torch import Tensor, nn


def initialised(model: nn.Module) -> nn.Module:
    """The model, every layer initialised for the fan-in that it has now."""
    return model.apply(_initialise)  # children first: attention has the last word on the bias of its projection


def _initialise(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]


def evenly(count: int) -> Tensor:
    """Positions 0 to count - 1 in an order whose every beginning is spread over the whole range, shape (count,)."""
    rank, order = torch.arange(count), torch.zeros(count)
    for bit in range(count.bit_length()):  # van der Corput: the digits of the rank, mirrored
        order += ((rank >> bit) & 1) * 0.5 ** (bit + 1)
    return order.argsort()
