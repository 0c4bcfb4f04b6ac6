"""Layers of low rank: the truncated singular value decomposition of a trained network."""

from dataclasses import dataclass

import torch
from torch import nn

from bench import BudgetError, Declined, Method, Trainer, Widths, factorizable, factorized, tune
from methods._low_rank import Option, most_energy, options, total_macs


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
        chosen = self._chosen(trainer.widths(model), trainer)
        small = factorized(model, {name: option.rank for name, option in chosen.items() if option.rank is not None})
        trainer.fit(small)
        return small

    def _chosen(self, widths: Widths, trainer: Trainer) -> dict[str, Option]:
        """What each layer becomes."""
        if widths.price.axis != "macs":
            raise Declined(f"low rank chooses ranks by MACs and knows no price in {widths.price.axis}; try --cost macs")
        dense, matrices = widths.weight_macs, factorizable(widths.model)
        layers = {
            name: options(torch.linalg.svdvals(matrix.double()), matrix.shape, dense[f"{name}.weight"], widths.multiple)
            for name, matrix in matrices.items()
            if f"{name}.weight" in dense  # a model may hold layers that it does not use
        }
        fixed = widths.macs(widths.sizes) - sum(own[-1].macs for own in layers.values())
        limit = self.budget * widths.reference_macs
        chosen = most_energy(layers, limit - fixed)
        if (least := fixed + total_macs(chosen)) > limit:
            raise BudgetError(
                f"low rank leaves {fixed / widths.reference_macs:.4f} of the dense compute whole (products of "
                "activations, attention, recurrences, grouped and transposed convolutions), so that the smallest model "
                f"it can reach has {least / widths.reference_macs:.4f} of the dense compute; ask for a larger budget"
            )
        if whole := sorted({name.rpartition(".")[0] for name in dense} - set(layers)):
            trainer.note(
                f"Low rank leaves whole what is neither linear layer nor plain convolution: {', '.join(whole)}."
            )
        return chosen
