"""Layers of low rank: the truncated singular value decomposition of a trained network."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, factorized, tune
from methods._low_rank import layer_options, ranks_within


@dataclass(frozen=True)
class LowRank(Method):
    """Make two layers of low rank of each, then fine-tune both (Denton et al., arXiv 1404.0736).

    The weight of a linear layer or convolution, as a matrix (outputs, inputs * taps), is replaced by its truncated
    singular value decomposition: a layer to ``rank`` channels, with all taps of a convolution, and a pointwise one
    (Zhang et al., arXiv 1505.06798, without their fit to responses). Ranks are chosen for the whole network at once:
    the product over the layers of the share of squared singular values that stays is the largest within the budget, as
    theirs is for the energies of responses. A layer stays whole where two would cost as much.
    """

    stage = "post_hoc"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Choose the ranks, factorise, fine-tune."""
        widths = trainer.widths(model)
        small = factorized(model, ranks_within(layer_options(widths, trainer), widths, self.budget))
        trainer.fit(small)
        return small
