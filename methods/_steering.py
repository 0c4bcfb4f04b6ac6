"""Steers a differentiable compute to a target while a network trains."""

import torch
from torch import Tensor


class BudgetSteering:
    """An augmented Lagrangian on log(compute / target), whose target falls geometrically from 1 to the budget.

    The penalty is scaled by the first task loss, so that it does not depend on the scale of the loss; the multiplier
    rises while the compute is above the target and falls while it is below, never under zero.

    Args:
        budget: the fraction of the dense compute to arrive at.
        ramp_steps: steps over which the target falls.
    """

    def __init__(self, budget: float, ramp_steps: int) -> None:
        self.budget, self.ramp_steps = budget, max(1, ramp_steps)
        self._multiplier = 0.0
        self._scale: float | None = None
        self._step = 0

    def penalty(self, compute: Tensor, task_loss: Tensor) -> Tensor:
        """What to add to the task loss of this step, shape ().

        Args:
            compute: fraction of the dense compute, differentiable, shape ().
            task_loss: the loss of this step, shape (); its first value sets the scale.
        """
        if self._scale is None:
            self._scale = float(task_loss.detach().abs())
        target = self.budget ** min(1.0, self._step / self.ramp_steps)
        self._step += 1
        gap = torch.log(compute / target)
        self._multiplier = max(0.0, self._multiplier + 0.1 * float(gap.detach()))
        return self._scale * (self._multiplier * gap + 5 * torch.relu(gap) ** 2)
