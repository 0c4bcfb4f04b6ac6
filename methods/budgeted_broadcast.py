"""Budgeted Broadcast over connections, while the network trains."""

from dataclasses import dataclass

from torch import nn

from bench import Trainer
from methods._broadcast import BroadcastSettings


@dataclass(frozen=True)
class BudgetedBroadcast(BroadcastSettings):
    """Mask connections so that fan-out balances activity, while training (Meirovitch et al., arXiv 2510.01263).

    The zeros save memory and theoretical MACs (``effective_macs``, which ``budget`` is a share of), not time in a dense
    runtime. The settings are those of ``BroadcastSettings``.
    """

    stage = "in_training"
    promises = "mask"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train dense for a tenth of the steps, then under masks that are renewed until three quarters."""
        widths, steps = trainer.widths(model), trainer.steps_left
        broadcast, density = self.broadcast(widths)
        interval = max(1, min(25, steps // 20))
        renew = broadcast.renewing(density, burn_in=max(1, steps // 10), interval=interval, last=steps * 3 // 4)
        with widths.gate(broadcast.observers()):
            trainer.fit(model, after_step=renew)
        trainer.log(**broadcast.diagnostics(next(trainer.batches())))
        broadcast.masks.fold()
        return model
