"""The same architecture made narrower: what any choice of widths must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Method, Trainer, tune


@dataclass(frozen=True)
class UniformWidth(Method):
    """A network that is narrower by the same factor everywhere, trained from scratch with the whole step budget.

    Widths are rounded group by group so that the compute comes as close to the budget as for any other method.
    """

    stage = "in_training"
    control = True
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Cut the widths of the fresh model, initialise it for its new fan-in, train it."""
        widths = trainer.widths(model)
        scores = {name: evenly(score) if name == "input" else score for name, score in widths.proportional().items()}
        narrow = widths.keep(widths.strongest(scores, self.budget))
        narrow.apply(_initialise)  # children first: attention has the last word on the bias of its projection
        trainer.fit(narrow)
        return narrow


def _initialise(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]


def evenly(scores: Tensor) -> Tensor:
    """The scores in an order whose every beginning is spread over the whole range: fewer mel bands, not lower ones."""
    rank, order = torch.arange(len(scores)), torch.zeros(len(scores))
    for bit in range(len(scores).bit_length()):  # van der Corput: the digits of the rank, mirrored
        order += ((rank >> bit) & 1) * 0.5 ** (bit + 1)
    return scores.sort(descending=True).values[order.argsort().argsort()]
