"""Unstructured magnitude pruning of a trained network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Masks, Method, Trainer, rank_shares, tune
from methods._rounds import rounds_of

CRITERIA = ("global", "uniform", "lamp")


@dataclass(frozen=True)
class UnstructuredPruning(Method):
    """Zero the smallest weights and fine-tune the others (Han et al., arXiv 1506.02626).

    Weights of all layers are ranked together (``global``), each layer by itself (``uniform``), or by LAMP, which weighs
    each weight against those of its layer that remain (Lee et al., arXiv 2010.07611). ``budget`` is a share of the
    dense MACs with a non-zero weight; in a dense runtime nothing becomes faster. With several ``rounds`` the budget is
    approached geometrically, training in between, with one cycle of the learning rate over all of them.
    """

    stage = "post_hoc"
    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    criterion: str = tune("global", choices=CRITERIA)
    rounds: int = tune(1, choices=(1, 2, 4))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Mask and fine-tune, ``rounds`` times."""
        masks = Masks(trainer.widths(model), taps=True)
        density = masks.density(self.budget)
        for turn in rounds_of(trainer.steps_left, density, self.rounds):
            entries = {name: self._entry(own, masks.alive()[name]) for name, own in masks.strengths().items()}
            masks.keep_first(entries, turn.budget)
            trainer.fit(model, turn.steps, part=turn.part)
        masks.fold()
        return model

    def _entry(self, strengths: Tensor, alive: Tensor) -> Tensor:
        """Least for the weights that stay; what is masked stays so."""
        if self.criterion == "global":
            entry = -strengths
        else:
            entry = rank_shares(strengths) if self.criterion == "uniform" else -lamp(strengths)
        return torch.where(alive, entry, torch.inf)


def lamp(strengths: Tensor) -> Tensor:
    """A squared weight as a share of those in its layer that are no smaller (Lee et al., arXiv 2010.07611, eq. 4)."""
    squares, order = strengths.flatten().double().square().sort(stable=True)
    rest = squares.flip(0).cumsum(0).flip(0).clamp(min=1e-300)
    return torch.empty_like(squares).scatter(0, order, squares / rest).view_as(strengths)
