"""Budgeted Broadcast after training, from calibration data."""

from dataclasses import dataclass
from itertools import islice

from torch import nn

from bench import Trainer
from methods._broadcast import BroadcastSettings


@dataclass(frozen=True)
class BudgetedBroadcastOneShot(BroadcastSettings):
    """Mask a trained network's connections by the balance, once, and fine-tune (one-shot form of arXiv 2510.01263).

    On-rates are those of ``calibration_batches`` of train data; the masks stay as they are. The other settings are
    those of ``BroadcastSettings``.
    """

    stage = "post_hoc"
    promises = "mask"
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Look at the activations, mask, fine-tune."""
        broadcast, density = self.broadcast(trainer.widths(model))
        broadcast.observe(islice(trainer.batches(), self.calibration_batches))
        broadcast.refresh(density)
        trainer.fit(model)
        trainer.log(**broadcast.diagnostics(next(trainer.batches())))
        broadcast.masks.fold()
        return model
