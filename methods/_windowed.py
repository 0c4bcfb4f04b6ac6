"""The arithmetic of feature noise with few passes over memory."""

from typing import Any

import torch
from torch import Tensor


class Windowed(torch.autograd.Function):
    """Rows of a matrix kept or dropped, but for a few that are mixed with noise; done with two passes over memory.

    ``out[i] = keep[i] * x[i]``; for the few rows i = places[0][j], ``out[i] = feature[j] * x[i] + noise[j] * other[j]``
    with ``other[j] = x[places[1][j]] - x[places[2][j]]`` unless it is given. Autograd would spend a pass over the whole
    matrix on each gradient of a few rows.
    """

    @staticmethod
    def forward(  # noqa: PLR0917  (autograd passes them by position)
        ctx: Any, x: Tensor, keep: Tensor, feature: Tensor, noise: Tensor, places: Tensor, other: Tensor | None
    ) -> Tensor:
        """x (R, S), keep (R, 1) which is 0 where rows are named, feature and noise (n, 1), places (3, n) -> (R, S)."""
        ctx.given = other is not None
        own = x.index_select(0, places[0])
        if other is None:
            other = x.index_select(0, places[1]).sub_(x.index_select(0, places[2]))
        ctx.save_for_backward(keep, feature, noise, places, own, other)
        return (x * keep).index_add_(0, places[0], (feature * own).addcmul_(noise, other))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, feature, noise and, if it was given, other."""
        keep, feature, noise, places, own, other = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        inside = gradient.index_select(0, places[0])
        to_x = (gradient * keep).index_add_(0, places[0], feature * inside)
        to_other = noise * inside
        if not ctx.given:
            to_x.index_add_(0, places[1], to_other).index_add_(0, places[2], to_other, alpha=-1)
        to_feature, to_noise = ((inside * part).sum(1, keepdim=True) for part in (own, other))
        return to_x, None, to_feature, to_noise, None, to_other if ctx.given else None
