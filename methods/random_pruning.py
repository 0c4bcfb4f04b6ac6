"""Random channel removal: the control of every ranking."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Method, Trainer, Widths, tune
from methods._rounds import pruned_in_rounds


@dataclass(frozen=True)
class RandomPruning(Method):
    """Remove random channels, as many in each layer as magnitude pruning with these settings would, then fine-tune.

    What magnitude pruning gains over this is due to which channels it keeps, not to how many
    (control of Liu et al., arXiv 1810.05270).
    """

    stage = "post_hoc"
    control = True
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    norm: int = tune(2, choices=(1, 2))
    rounds: int = tune(1, choices=(1, 2, 4))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Prune at random and fine-tune, ``rounds`` times."""
        return pruned_in_rounds(
            model, trainer, self.budget, self.rounds, lambda widths: widths.norms(self.norm), choose=_drawn
        )


def _drawn(widths: Widths, scores: Mapping[str, Tensor], budget: float) -> dict[str, Tensor]:
    sizes = widths.largest(scores, budget)
    return {name: torch.randperm(widths.sizes[name])[:kept] for name, kept in sizes.items()}
