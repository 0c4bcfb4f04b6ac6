"""The same architecture made narrower: what any choice of widths must beat."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._fresh import evenly, redrawn


@dataclass(frozen=True)
class UniformWidth(Method):
    """A network that is narrower by the same factor everywhere, trained from scratch with the whole step budget.

    Widths are rounded group by group so that the compute comes as close to the budget as for any other method.
    """

    stage = "in_training"
    control = True
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Cut the widths of the fresh model, draw it anew for its sizes, train it."""
        widths = trainer.widths(model)
        scores = widths.proportional()
        if "input" in scores:  # fewer mel bands, not lower ones
            best_first = scores["input"].sort(descending=True).values
            scores["input"] = best_first[evenly(len(best_first)).argsort()]
        narrow = redrawn(widths.keep(widths.strongest(scores, self.budget)), model)
        trainer.fit(narrow)
        return narrow
