"""The widths that an in-training method found, without the training that found them."""

from dataclasses import dataclass

import torch
from torch import nn

from bench import Method, Trainer
from methods._fresh import evenly, redrawn


@dataclass(frozen=True)
class GivenWidths(Method):
    """Train a network of given widths from scratch with all steps (control of Liu et al. 2019, arXiv 1810.05270).

    What the method that found the widths gains over this is due to the weights it brings along or to how it trains, not
    to the widths; what this gains over uniform width is due to the widths. Each seed gets the widths that the best
    in-training method found with the same seed, so it runs after that.
    """

    stage = "in_training"
    control = True
    follows = True
    budget: float = 1.0  # share of the dense compute that these widths cost
    widths: str = ""  # ``stem.0=4 layers.0=12``: channels of each group; groups that are not named stay whole

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Cut the fresh model to these widths, draw it anew for its sizes, train it."""
        sizes = {name: int(size) for name, _, size in (part.rpartition("=") for part in self.widths.split())}
        widths = trainer.widths(model)
        kept = {n: evenly(widths.sizes[n])[:size] if n == "input" else torch.arange(size) for n, size in sizes.items()}
        narrow = redrawn(widths.keep(kept), model)
        trainer.fit(narrow)
        return narrow
