"""Feature-noise reparameterization: widths learned by gradient descent while the network trains."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench import BudgetError, Declined, Method, Trainer, Widths, tune
from methods._steering import BudgetSteering, at_least, search, warm_up
from methods._width_noise import WidthNoise


@dataclass(frozen=True)
class FeatureNoise(Method):
    """Learn each width by replacing features beyond it with noise (Gómez and Bäckström 2026, arXiv 2601.13704).

    The network is made physically smaller after ``search_share`` of the steps, and trained on. Without noise for the
    first ``warm_up_share`` of these, it then searches the widths at a learning rate of ``rate`` over the steps of the
    search: noise from the beginning costs more than it finds. ``form="sampled"`` draws the widths anew for every
    example, uses differences of examples as noise, and is steered to the budget. ``form="literal"`` has the published
    noise and objective: one noisy feature, Gaussian, nothing drawn; the task's loss plus ``complexity`` times the share
    of the dense compute. Widths so found are all multiplied by one factor to meet the budget. No width falls below
    ``kappa`` of its layer, or the budget if that is less: a layer that is down to a channel or two seldom comes back.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    search_share: float = tune(0.75, choices=(0.25, 0.5, 0.75))
    warm_up_share: float = tune(0.65, choices=(0.05, 0.35, 0.65))
    rate: float = tune(5.0, low=3.0, high=10.0, log=True)
    kappa: float = tune(0.1, low=0.01, high=0.2, log=True)
    form: str = tune("sampled", choices=("sampled", "literal"))
    complexity: float = tune(1.0, low=0.1, high=10.0, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Search the widths, consolidate, train the smaller network."""
        widths = _outside_recurrences(trainer.widths(model), trainer, self.budget)
        sampled = self.form == "sampled"
        least = min(self.kappa, self.budget)
        noise = WidthNoise(widths.sizes, 2.0 if sampled else 1.0, 0.25 if sampled else 0.0, not sampled, least)
        shares = self.search_share, self.warm_up_share
        steps = warm_up(model, trainer, widths, budget=self.budget, shares=shares)
        noise.order(widths.norms())  # what the network has learned to lean on is the last to go
        penalty = BudgetSteering(self.budget, steps).penalty if sampled else self._price
        search(model, trainer, widths, noise, penalty=penalty, steps=steps, rate=self.rate)
        found = widths.proportional({name: float(width.detach()) for name, width in noise.widths().items()})
        ranked = {name: scores[noise.ranks[name]] for name, scores in found.items()}
        small = widths.keep(widths.strongest(at_least(ranked, least), self.budget))
        trainer.fit(small)
        return small

    def _price(self, compute: Tensor, task_loss: Tensor) -> Tensor:
        """The published one: whatever the budget is, and however large the loss."""
        return self.complexity * compute


def _outside_recurrences(widths: Widths, trainer: Trainer, budget: float) -> Widths:
    """The widths that noise can act on: features inside a recurrence feed themselves where no gate reaches them."""
    recurrent = [group.name for group in widths.groups if group.recurrent]
    if not recurrent:
        return widths
    if len(recurrent) == len(widths.groups):
        raise Declined("feature noise has nothing to act on: every width is the hidden state of a recurrent layer")
    whole, rest = ", ".join(recurrent), widths.without(recurrent)
    if rest.smallest_budget > budget:
        raise BudgetError(
            f"feature noise leaves the hidden states of recurrent layers whole ({whole}), so that the smallest model "
            f"it can reach has {rest.smallest_budget:.4f} of the dense compute; ask for a larger budget"
        )
    trainer.note(f"Feature noise leaves the hidden states of recurrent layers whole: {whole}.")
    return rest
