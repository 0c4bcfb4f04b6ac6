"""Structured magnitude pruning."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._rounds import pruned_in_rounds


@dataclass(frozen=True)
class MagnitudePruning(Method):
    """Remove the channels of least norm, whole network ranked at once, then fine-tune (Li et al., arXiv 1608.08710).

    The norm of a channel is taken over all layers that share it and divided by the mean of its group (Fang et al.,
    arXiv 2301.12900). With more than one round the budget is approached geometrically, training in between.
    """

    stage = "post_hoc"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    norm: int = tune(2, choices=(1, 2))
    rounds: int = tune(4, choices=(1, 2, 4))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Prune and fine-tune, ``rounds`` times."""
        return pruned_in_rounds(model, trainer, self.budget, self.rounds, lambda widths: widths.norms(self.norm))
