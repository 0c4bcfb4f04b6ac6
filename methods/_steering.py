"""Steers a differentiable compute to a target while a network trains."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from bench import Batch, Trainer, Widths

#: from the compute as a fraction of the dense one, and the task loss, both of shape (), what is added to that loss
Penalty = Callable[[Tensor, Tensor], Tensor]


class BudgetSteering:
    """An augmented Lagrangian on log(compute / target), whose target falls geometrically from 1 to the budget.

    The penalty is scaled by the first task loss, so that it does not depend on the scale of the loss; the multiplier
    rises while the compute is above the target and falls while it is below, never under zero.

    Args:
        budget: the fraction of the dense compute to arrive at.
        steps: of the search; the target falls during the first three fifths.
    """

    def __init__(self, budget: float, steps: int) -> None:
        self.budget, self.ramp_steps = budget, max(1, round(0.6 * steps))
        self._multiplier = 0.0
        self._scale: float | None = None
        self._step = 0

    def penalty(self, compute: Tensor, task_loss: Tensor) -> Tensor:
        """What to add to the task loss of this step, shape ().

        Args:
            compute: fraction of the dense compute, differentiable, shape ().
            task_loss: the loss of this step, shape ().
        """
        if self._scale is None:
            self._scale = float(task_loss.detach().abs())
        target = self.budget ** min(1.0, self._step / self.ramp_steps)
        self._step += 1
        gap = torch.log(compute / target)
        self._multiplier = max(0.0, self._multiplier + 0.1 * float(gap.detach()))
        return self._scale * (self._multiplier * gap + 5 * torch.relu(gap) ** 2)


class Gates(Protocol):
    """Gates on the features of width groups that learn how wide each group should be."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""

    def widths(self) -> dict[str, Tensor]:
        """The width of each group, differentiable, shape ()."""

    def draw(self, examples: int, annealing: float) -> None:
        """Draw for a step with this many examples; ``annealing`` falls from 1 to 0 over the search."""

    def gates(self) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
        """A gate for each group; it passes features on before the first draw."""

    def live(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """For each group, how far each of its channels counts in a layer norm's statistics."""

    def project(self) -> None:
        """Bring the parameters back into their range, after an optimiser step."""


def warm_up(model: nn.Module, trainer: Trainer, widths: Widths, *, budget: float, shares: tuple[float, float]) -> int:
    """Train a fresh model without gates: a network has to know something before it can tell what it needs.

    Args:
        model: the dense model.
        trainer: whose steps are spent.
        widths: the groups that will be gated.
        budget: that they are to arrive at.
        shares: of the steps left, how many go by before the cut; and of these, how many are spent here.

    Returns:
        The steps that are left before the cut, at least one.

    Raises:
        BudgetError: no choice of these widths reaches the budget; said before anything is trained.
    """
    widths.largest(widths.proportional(), budget)
    before_cut = max(1, round(shares[0] * trainer.steps_left))
    steps = min(before_cut - 1, round(shares[1] * before_cut))
    trainer.begin(model, steps)
    return before_cut - steps


def search(
    model: nn.Module, trainer: Trainer, widths: Widths, gates: Gates, *, penalty: Penalty, steps: int, rate: float
) -> None:
    """Train a model, in place, together with gates whose compute has a price.

    Args:
        model: the dense model.
        trainer: whose steps are spent.
        widths: the groups to gate.
        gates: what is learned.
        penalty: added to the task loss.
        steps: to spend.
        rate: learning rate of the gates times the number of steps.
    """
    step = 0

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        gates.draw(len(batch.inputs), annealing=1 - step / steps)
        task_loss = trainer.loss(network, batch)
        compute = widths.cost(gates.widths())
        return task_loss + penalty(compute, task_loss)

    def after_step(done: int) -> None:
        nonlocal step
        step = done
        gates.project()

    own = {"params": gates.parameters, "lr": rate / steps, "weight_decay": 0.0}
    with widths.gate(gates.gates(), live=gates.live()):
        trainer.fit(model, steps, loss=loss, after_step=after_step, extra_parameters=[own], schedule="constant")


def at_least(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The scores, but the best channels of each group, this share of them, stand above all others.

    A ranking of the whole network can leave a layer with a channel or two, through which nothing passes.
    """
    above = max(float(s.max()) for s in scores.values()) - min(float(s.min()) for s in scores.values()) + 1
    lifted = {}
    for name, own in scores.items():
        best = own.topk(math.ceil(share * len(own))).indices
        lifted[name] = own.index_add(0, best, torch.full((len(best),), above).to(own))
    return lifted
