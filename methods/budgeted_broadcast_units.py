"""Budgeted Broadcast over whole units."""

from dataclasses import dataclass

from torch import nn

from bench import Method, Trainer, tune
from methods._broadcast import Broadcast
from methods._steering import at_least


@dataclass(frozen=True)
class BudgetedBroadcastUnits(Method):
    """Train under Budgeted Broadcast, then remove whole units (structured form of arXiv 2510.01263; ranking ours).

    After ``search_share`` of the steps units are ranked by what they still broadcast, the strength of the connections
    that the masks have left them: by default times the entropy of their on-rate, as a unit that is always on or always
    off says nothing; with ``ranking="fan_out"`` times their fan-out, which ranks as the balance does, and was worse on
    vad and anti-spoofing. The largest network within the budget is cut out and trained on; it is really smaller, so it
    may claim latency. Each layer keeps at least ``kappa`` of its units, or the budget if that is less.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    search_share: float = tune(0.5, choices=(0.25, 0.5, 0.75))
    kappa: float = tune(0.1, low=0.01, high=0.2, log=True)
    beta: float = tune(16.0, low=2.0, high=128.0, log=True)
    ranking: str = tune("entropy", choices=("entropy", "fan_out"))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Search under masks, cut, train on."""
        widths, steps = trainer.widths(model), round(self.search_share * trainer.steps_left)
        broadcast = Broadcast(widths, beta=self.beta)
        density = self.budget**0.5  # removing both ends of a connection squares the saving
        renew = broadcast.renewing(
            density, burn_in=max(1, steps // 5), interval=max(1, min(25, steps // 10)), last=steps
        )
        with widths.gate(broadcast.observers()):
            trainer.fit(model, steps, after_step=renew, schedule="constant")
        broadcast.refresh(density)
        scores = broadcast.unit_scores(by_fan_out=self.ranking == "fan_out")
        trainer.log(**broadcast.diagnostics(next(trainer.batches())))
        broadcast.masks.fold()
        small = widths.keep(widths.strongest(at_least(scores, min(self.kappa, self.budget)), self.budget))
        trainer.fit(small)
        return small
