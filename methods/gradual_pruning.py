"""Gradual magnitude pruning."""

from dataclasses import dataclass

from torch import nn

from bench import Masks, Method, Trainer, rank_shares, tune


@dataclass(frozen=True)
class GradualPruning(Method):
    """Zero the smallest weights of each layer little by little, while training (Zhu and Gupta, arXiv 1710.01878).

    Between the shares ``begin`` and ``end`` of the steps the sparsity rises to its target along their cubic, eq. 1;
    masks are renewed from the full weights each time, so that a weight can come back. ``budget`` is a share of the
    dense MACs with a non-zero weight; in a dense runtime nothing becomes faster.
    """

    stage = "in_training"
    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    begin: float = tune(0.1, low=0.0, high=0.3)
    end: float = tune(0.75, low=0.5, high=0.9)
    updates: int = 50

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train under masks that become sparser."""
        masks, steps = Masks(trainer.widths(model), taps=True), trainer.steps_left
        density = masks.density(self.budget)
        first, last = round(self.begin * steps), max(1, round(self.end * steps))
        interval = max(1, (last - first) // self.updates)

        def after_step(step: int) -> None:
            if step == last or (first <= step < last and (step - first) % interval == 0):
                ahead = (last - step) / max(1, last - first)
                entries = {name: rank_shares(own) for name, own in masks.strengths().items()}
                masks.keep_first(entries, density + (1 - density) * ahead**3)

        trainer.fit(model, after_step=after_step)
        masks.fold()
        return model
