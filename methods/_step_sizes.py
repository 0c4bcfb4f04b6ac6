"""Learned step sizes: how far apart the numbers of an integer grid lie, trained with the network (arXiv 1902.08153)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods._integer import Ends

FEATURE_TOP = 255  # of the integers that features become


def stepped(values: Tensor, step: Tensor, below: float, above: float) -> Tensor:
    """The values as the nearest of ``step * (-below ... above)``, with the gradients of LSQ (eqs. 1 to 5).

    Of the values: 1 inside and 0 outside. Of the step: ``-below`` or ``above`` outside, ``round(v / s) - v / s``
    inside, summed over the values of a step, times ``1 / sqrt(N Q_P)`` for N values of each step (section 2.2). Q_P is
    the longer side here: a grid of features may have its zero anywhere, even at its upper end.

    Args:
        values: of any shape.
        step: positive, of a shape that is broadcast to that of ``values``.
        below: steps below zero, Q_N.
        above: steps above zero.
    """
    balance = math.sqrt(step.numel() / (values.numel() * max(below, above)))
    step = step.detach() + (step - step.detach()) * balance
    clipped = (values / step).clamp(-below, above)
    return (clipped + (clipped.round() - clipped).detach()) * step


class StepSizes:
    """Step sizes that are trained, each from ``2 mean|v| / sqrt(Q_P)`` of the first values that are rounded.

    Their logarithms are trained: Adam, which knows no scale of a gradient, then changes each by a share of itself, and
    it stays above zero.

    Attributes:
        logarithms: the parameters, which are those of no module; without meaning until values have been rounded.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.logarithms = nn.Parameter(torch.zeros(shape))
        self.known = False

    def round(self, values: Tensor, below: float, above: float) -> Tensor:
        """The values on the grid."""
        if not self.known:
            count = values.numel() / self.logarithms.numel()
            means = values.detach().float().abs().sum_to_size(self.logarithms.shape) / count
            self.logarithms.data = (2 * means / math.sqrt(max(below, above))).clamp(min=1e-12).log()
            self.known = True
        return stepped(values, self.logarithms.exp(), below, above)


class LearnedWeight(nn.Module):
    """Rounds a weight (out, ...) to a learned grid for each output channel.

    Args:
        active: whether anything is rounded yet.
        weight: of which only the shape is used.
        top: the largest integer; the smallest is its negative.
    """

    def __init__(self, active: Callable[[], bool], weight: Tensor, top: int) -> None:
        super().__init__()
        self.active, self.top = active, top
        self.steps = StepSizes((len(weight), *[1] * (weight.dim() - 1)))

    def forward(self, weight: Tensor) -> Tensor:
        return self.steps.round(weight, self.top, self.top) if self.active() else weight


class LearnedRange:
    """Rounds features to 256 numbers a learned step apart; which of them is zero is fixed when rounding begins."""

    def __init__(self) -> None:
        self.steps, self._zero = StepSizes(()), 0

    def round(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The features on the grid, whose zero is put where it was in the range that was seen when rounding begins."""
        if not self.steps.known:
            self._zero = round(-FEATURE_TOP * float(low) / max(float(high - low), 1e-12))
        above = FEATURE_TOP - self._zero
        return self.steps.round(features, self._zero, above)

    @property
    def ends(self) -> Ends:
        """Lowest and highest number of the grid."""
        step = float(self.steps.logarithms.detach().exp())
        return -self._zero * step, (FEATURE_TOP - self._zero) * step
