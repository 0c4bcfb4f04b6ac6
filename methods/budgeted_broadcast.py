"""Budgeted Broadcast over weights."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._broadcast import Broadcast


@dataclass(frozen=True)
class BudgetedBroadcast(Method):
    """Prune outgoing weights so that fan-out balances activity, while training (Meirovitch et al., arXiv 2510.01263).

    Unstructured: the zeros save memory and theoretical MACs (``effective_macs``), not time in a dense runtime.
    """

    stage = "in_training"
    sparsity: float = tune(0.75, low=0.0, high=15 / 16)
    beta: float = tune(16.0, low=2.0, high=128.0, log=True)

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train dense for a tenth of the steps, then under masks that are renewed until three quarters."""
        widths, steps = trainer.widths(model), trainer.steps_left
        broadcast = Broadcast(
            widths,
            density=1 - self.sparsity,
            beta=self.beta,
            burn_in=max(1, steps // 10),
            interval=max(1, min(25, steps // 20)),
            last=steps * 3 // 4,
        )
        with widths.gate(broadcast.observers()):
            trainer.fit(model, after_step=broadcast.after_step)
        broadcast.fold()
        return model
