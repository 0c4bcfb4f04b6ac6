"""The lottery ticket: channels that a trained network leans on, with the weights that they had early on."""

import copy
from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._steering import warm_up


@dataclass(frozen=True)
class LotteryTicket(Method):
    """Train, choose channels, take their weights back to an early step, train again (Frankle et al., arXiv 1903.01611).

    The weights that ``rewind_share`` of the steps have made are put aside. The dense network trains on, its learning
    rate falling to nothing, until ``search_share``; then the channels of largest norm within the budget are chosen (as
    ``magnitude_pruning`` does). These, with the weights put aside and a learning rate that begins anew, get the other
    steps (weight rewinding; Renda et al., arXiv 2003.02389). The papers rewind single weights, here it is channels.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    rewind_share: float = tune(0.1, choices=(0.05, 0.1, 0.2))
    search_share: float = tune(0.5, choices=(0.25, 0.5, 0.75))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train the dense network, choose, rewind, train the smaller one."""
        widths = trainer.widths(model)
        shares = self.search_share, self.rewind_share / self.search_share
        steps = warm_up(model, trainer, widths, budget=self.budget, shares=shares)
        early = copy.deepcopy(model.state_dict())
        trainer.fit(model, steps, schedule="decay")
        ticket = widths.strongest(widths.norms(), self.budget)
        model.load_state_dict(early)
        small = widths.keep(ticket)
        trainer.fit(small)
        return small
