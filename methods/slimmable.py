"""One network that works at several widths."""

from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench import Batch, FrontMethod, Trainer, Widths


@dataclass(frozen=True)
class Slimmable(FrontMethod):
    """Train one network at all its widths by turns, and cut each model from it (Yu et al. 2019, arXiv 1812.08928).

    Widths are uniform, and the first channels of each layer are those of every narrower model. At each step the network
    computes with one width, drawn with equal chances from those of all budgets and the full one. It has one set of
    weights; the statistics of its batch norms are taken anew for each width from ``batches`` batches after training
    (Yu and Huang 2019, arXiv 1903.05134, section 3.3), where the original keeps a set of norms for each width.
    """

    stage = "in_training"
    promises = "front"
    batches: int = 16

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train all widths unless another budget of this seed has, cut the network to one, take its statistics."""
        trainer.train_once(model, partial(self._train, trainer), serves=len(self.served))
        widths = trainer.widths(model)
        small = widths.keep(_first(widths, self.budget))
        update_bn((batch.inputs for batch in islice(trainer.batches(), self.batches)), small)
        return small

    def _train(self, trainer: Trainer, model: nn.Module) -> None:
        widths = trainer.widths(model)
        choices = [_first(widths, budget) for budget in self.served]
        choices.append({name: torch.arange(size) for name, size in widths.sizes.items()})

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            with widths.mask(choices[int(torch.randint(len(choices), ()))]):
                return trainer.loss(model, batch)

        trainer.fit(model, loss=loss)


def _first(widths: Widths, budget: float) -> dict[str, Tensor]:
    """The first channels of each group, as many as the budget pays for at a uniform width."""
    return widths.strongest(widths.proportional(), budget)
