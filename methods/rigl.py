"""Sparse training with connections that move: RigL and SET."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Masks, Method, Trainer, rank_shares, tune


@dataclass(frozen=True)
class Rigl(Method):
    """Train sparse from the first step; small weights go, others grow (Evci et al., arXiv 1911.11134).

    At every update each layer drops a share of its smallest weights, which falls along a cosine, and grows as many
    where the gradient is largest; ``growth="random"`` is SET (Mocanu et al., arXiv 1707.04780). The layers' densities
    are those of the Erdos-Renyi kernel. ``budget`` is a share of the dense MACs with a non-zero weight; in a dense
    runtime nothing becomes faster, and a step costs what a dense one does here.
    """

    stage = "in_training"
    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    drop: float = tune(0.3, low=0.1, high=0.5)
    growth: str = tune("gradient", choices=("gradient", "random"))
    updates: int = 30
    end: float = 0.75  # of the steps; after that connections stay

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Draw masks, train, and move connections."""
        masks, steps = Masks(trainer.widths(model), taps=True), trainer.steps_left
        last = max(1, round(self.end * steps))
        interval = max(2, last // self.updates)
        drawn = {name: rank_shares(torch.rand_like(full)) / _kernel(full) for name, full in masks.full().items()}
        masks.keep_first(drawn, masks.density(self.budget))

        def after_step(step: int) -> None:
            masks.watch_gradients((step + 1) % interval == 0 and step < last)
            if step % interval == 0 and step <= last:
                self._move(masks, self.drop * (1 + math.cos(math.pi * step / last)) / 2)

        trainer.fit(model, after_step=after_step)
        masks.fold()
        return model

    @torch.no_grad()
    def _move(self, masks: Masks, share: float) -> None:
        """Drop this share of the connections of each layer, and grow as many others."""
        moved, full, gradients = {}, masks.full(), masks.gradients()
        for name, alive in masks.alive().items():
            count = min(round(share * int(alive.sum())), int((~alive).sum()))
            weakest = torch.where(alive, full[name].abs(), torch.inf).flatten().argsort()[:count]
            wanted = gradients[name].abs() if self.growth == "gradient" else torch.rand_like(full[name])
            grown = torch.where(alive, -torch.inf, wanted).flatten().argsort(descending=True)[:count]
            mask = alive.flatten().clone()
            mask[weakest], mask[grown] = False, True
            full[name].view(-1)[grown] = 0.0
            moved[name] = mask.view_as(alive)
        masks.set(moved)


def _kernel(weight: Tensor) -> float:
    """The density of a layer relative to others, by the Erdos-Renyi kernel: sum of its sizes over their product."""
    return sum(weight.shape) / math.prod(weight.shape)
