"""Budgeted Broadcast after training, from calibration data."""

from dataclasses import dataclass
from itertools import islice

from torch import nn

from bench import Method, Trainer, tune
from methods._broadcast import SIDES, Broadcast, Rule


@dataclass(frozen=True)
class BudgetedBroadcastOneShot(Method):
    """Mask a trained network's connections by the balance, once, and fine-tune (one-shot form of arXiv 2510.01263).

    On-rates are those of ``calibration_batches`` of train data; the masks stay as they are. ``rule``, ``side`` and
    ``taps`` are those of ``budgeted_broadcast``, its twin while the network trains.
    """

    stage = "post_hoc"
    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    beta: float = tune(16.0, low=2.0, high=128.0, log=True)
    side: str = tune("out", choices=SIDES)
    rescale: bool = tune(False, choices=(False, True))
    rule: Rule = "balance"
    taps: bool = False
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Look at the activations, mask, fine-tune."""
        widths = trainer.widths(model)
        broadcast = Broadcast(widths, self.beta, self.rule, self.side, taps=self.taps, rescale=self.rescale)
        density = broadcast.masks.density(self.budget)
        broadcast.observe(islice(trainer.batches(), self.calibration_batches))
        broadcast.refresh(density)
        trainer.fit(model)
        trainer.log(**broadcast.diagnostics(next(trainer.batches())))
        broadcast.masks.fold()
        return model
