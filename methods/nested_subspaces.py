"""One network of layers of low rank that works at several ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench import Batch, FrontMethod, Trainer, Widths, factorized
from methods._low_rank import layer_options, least_budget, ranks_within


@dataclass(frozen=True)
class NestedSubspaces(FrontMethod):
    """Fine-tune a factorised network at all its ranks at once, and cut each model from it (Rauba, arXiv 2509.17874).

    Each weight W (outputs, inputs * taps) becomes B A, from its singular value decomposition; at rank r a layer
    computes with the first r columns of B and rows of A, so that its outputs lie in a subspace of those at any higher
    rank. Each step trains the largest rank and one drawn from the others, by the sum over both of exp(-s_r) L_r + s_r:
    L_r is the task's loss at r, and s_r, the logarithm of its uncertainty, is learned for each rank.

    Theirs is one rank for all linear layers of a language model. Here a "rank" is the ranks of all layers at one
    budget, chosen as those of ``low_rank``, convolutions included. What the smallest budget leaves whole stays whole;
    no other layer has a rank at which two cost as much as one. Each of the two ranks is trained on half of the batch,
    so that a step costs what one of this network costs. Batch norms take their statistics anew for each model, from
    ``batches`` batches.
    """

    stage = "post_hoc"
    promises = "front"
    batches: int = 16

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Factorise, train all ranks unless another budget of this seed has, cut the network to its own."""
        dense = trainer.widths(model)
        layers = layer_options(dense, trainer)
        least = least_budget(layers, dense)
        served = sorted((b for b in self.served if b >= least or b == self.budget), reverse=True)
        split = ranks_within(layers, dense, served[-1])
        layers = {name: own[:-1] if name in split else own[-1:] for name, own in layers.items()}
        ranks = [ranks_within(layers, dense, budget) for budget in served]
        network = factorized(model, {name: max(own[name] for own in ranks) for name in split})
        trainer.train_once(network, partial(self._train, trainer, dense.example_input, ranks), serves=len(served))
        widths = Widths(network, dense.example_input)
        small = widths.keep(_leading(widths, ranks[served.index(self.budget)]))
        update_bn((batch.inputs for batch in islice(trainer.batches(), self.batches)), small)
        return small

    def _train(self, trainer: Trainer, example: Tensor, ranks: Sequence[dict[str, int]], network: nn.Module) -> None:
        widths = Widths(network, example)
        nested = [_leading(widths, own) for own in ranks]
        uncertain = nn.Parameter(torch.zeros(len(nested)))

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            places = [0, *(1 + torch.randint(len(nested) - 1, (1,))).tolist()] if len(nested) > 1 else [0]
            inputs, targets = (x.chunk(len(places)) for x in (batch.inputs, batch.targets))
            terms = []
            for place, *half in zip(places, inputs, targets, strict=False):  # a batch of one has no second half
                with widths.mask(nested[place]):
                    terms.append(trainer.loss(model, Batch(*half)) * (-uncertain[place]).exp() + uncertain[place])
            return torch.stack(terms).sum()

        trainer.fit(network, loss=loss, extra_parameters=[{"params": [uncertain], "weight_decay": 0.0}])


def _leading(widths: Widths, ranks: dict[str, int]) -> dict[str, Tensor]:
    """The first channels between the two layers that each of these has become; one of rank 1 has no other."""
    return {f"{name}.0": torch.arange(rank) for name, rank in ranks.items() if f"{name}.0" in widths.sizes}
