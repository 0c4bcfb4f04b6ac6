"""Stochastic gates: which channels to keep, learned by gradient descent while the network trains."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._gates import ChannelGates
from methods._steering import BudgetSteering, at_least, search, warm_up

START = {"stg": 0.5, "hard_concrete": 2.0}


@dataclass(frozen=True)
class StochasticGates(Method):
    """Gate every channel at random and learn the chance that it is open (arXiv 1810.04247, arXiv 1712.01312).

    ``form="stg"`` are the normal gates of Yamada et al. 2020, ``form="hard_concrete"`` those of Louizos et al. 2018.
    For ``search_share`` of the steps the network is whole, and for the first ``warm_up_share`` of these without gates.
    Then the expected compute, from the probabilities that gates are not zero, is steered to the budget, with the gates'
    learning rate at ``rate`` over the steps of the search. At its end the channels most likely open are kept, their
    gates folded into the weights that read them; the smaller network is trained on.
    Each layer keeps at least ``kappa`` of its channels, or the budget if that is less.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    search_share: float = tune(0.75, choices=(0.25, 0.5, 0.75))
    warm_up_share: float = tune(0.65, choices=(0.05, 0.35, 0.65))
    kappa: float = tune(0.1, low=0.01, high=0.2, log=True)
    rate: float = tune(15.0, low=5.0, high=60.0, log=True)
    form: str = tune("stg", choices=("stg", "hard_concrete"))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Learn the gates, keep the channels that are open, train the smaller network."""
        widths = trainer.widths(model)
        gates = ChannelGates(widths.sizes, self.form, START[self.form])
        shares = self.search_share, self.warm_up_share
        steps = warm_up(model, trainer, widths, budget=self.budget, shares=shares)
        steering = BudgetSteering(self.budget, steps)
        search(model, trainer, widths, gates, penalty=steering.penalty, steps=steps, rate=self.rate)
        widths.scale(gates.values())
        chances = {name: chance.detach() for name, chance in gates.chances().items()}
        small = widths.keep(widths.strongest(at_least(chances, min(self.kappa, self.budget)), self.budget))
        trainer.fit(small)
        return small
