"""Growing regularisation of groups of channels, while the network trains."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Batch, Method, Trainer, Widths, tune
from methods._steering import at_least, warm_up

ALPHA = 4.0  # the weakest channel of a group is held down 2**ALPHA times as hard as the strongest
RENEWED = 20  # steps after which the norms are looked at again


@dataclass(frozen=True)
class GroupNorm(Method):
    """Let weak channels fade while training, then remove them (GroupNorm of Fang et al., arXiv 2301.12900, eq. 8).

    Behind a warm-up each channel's weights, over all layers that share it, are held down by a weight of
    2**(4 (max - I) / (max - min)), I being its norm in its group (``soft``), or only those that the budget would remove
    are, equally (``chosen``; GReg-1, Wang et al., arXiv 2012.09243). ``strength`` grows from nothing to its full value.
    Then the strongest channels within the budget stay, and the small network trains on.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    search_share: float = tune(0.75, choices=(0.25, 0.5, 0.75))
    warm_up_share: float = tune(0.65, choices=(0.05, 0.35, 0.65))
    form: str = tune("soft", choices=("soft", "chosen"))
    strength: float = tune(1e-3, low=1e-4, high=1e-2, log=True)
    kappa: float = tune(0.1, low=0.01, high=0.2, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Warm up, hold down, cut, train on."""
        widths = trainer.widths(model)
        shares = self.search_share, self.warm_up_share
        steps = warm_up(model, trainer, widths, budget=self.budget, shares=shares)
        weights, done = self._weights(widths), 0

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            return trainer.loss(network, batch) + self.strength * done / steps * _held_down(widths, weights)

        def after_step(step: int) -> None:
            nonlocal weights, done
            done = step
            if self.form == "soft" and step % RENEWED == 0:
                weights = self._weights(widths)

        trainer.fit(model, steps, loss=loss, after_step=after_step, schedule="constant")
        small = widths.keep(self._kept(widths))
        trainer.fit(small)
        return small

    def _weights(self, widths: Widths) -> dict[str, Tensor]:
        """How hard each channel is held down, (size,), by group."""
        if self.form == "chosen":
            kept = self._kept(widths)
            return {n: torch.ones(size).index_fill(0, kept[n], 0.0) for n, size in widths.sizes.items()}
        norms = {name: own.sqrt() for name, own in widths.norms().items()}
        spread = {name: (own.max() - own.min()).clamp(min=1e-12) for name, own in norms.items()}
        return {name: 2 ** (ALPHA * (own.max() - own) / spread[name]) for name, own in norms.items()}

    def _kept(self, widths: Widths) -> dict[str, Tensor]:
        scores = at_least(widths.norms(), min(self.kappa, self.budget))
        return widths.strongest(scores, self.budget)


def _held_down(widths: Widths, weights: dict[str, Tensor]) -> Tensor:
    """Half the sum of the squared weights of every channel, times how hard it is held down."""
    held = [(powers.sum(0) * weights[name].to(powers)).sum() for name, powers in widths.powers().items()]
    return torch.stack(held).sum() / 2
