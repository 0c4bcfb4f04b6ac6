"""Budgeted Broadcast over connections, while the network trains."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._broadcast import SIDES, Broadcast, Rule


@dataclass(frozen=True)
class BudgetedBroadcast(Method):
    """Mask connections so that fan-out balances activity, while training (Meirovitch et al., arXiv 2510.01263).

    The zeros save memory and theoretical MACs (``effective_macs``, which ``budget`` is a share of), not time in a dense
    runtime. ``rule`` is the controller: ``balance``, ``threshold`` as in the released code, or one of the controls
    ``activity``, ``shuffled`` and ``magnitude``; ``side`` says which connections of a unit it acts on: outgoing ones
    (SP-out), incoming ones (SP-in), or both. With ``taps`` it acts on single weights of convolutions. The published
    rescaling of what a unit still receives is off unless chosen: behind normalisation it costs more than it gives.
    """

    stage = "in_training"
    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    beta: float = tune(16.0, low=2.0, high=128.0, log=True)
    side: str = tune("out", choices=SIDES)
    rescale: bool = tune(False, choices=(False, True))
    rule: Rule = "balance"
    taps: bool = False

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train dense for a tenth of the steps, then under masks that are renewed until three quarters."""
        widths, steps = trainer.widths(model), trainer.steps_left
        broadcast = Broadcast(widths, self.beta, self.rule, self.side, taps=self.taps, rescale=self.rescale)
        renew = broadcast.renewing(
            broadcast.masks.density(self.budget),
            burn_in=max(1, steps // 10),
            interval=max(1, min(25, steps // 20)),
            last=steps * 3 // 4,
        )
        with widths.gate(broadcast.observers()):
            trainer.fit(model, after_step=renew)
        trainer.log(**broadcast.diagnostics(next(trainer.batches())))
        broadcast.masks.fold()
        return model
