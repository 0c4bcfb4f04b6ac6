"""Structured pruning by the importances of Torch-Pruning."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench import Method, Trainer, Widths, tune
from methods._importance import CRITERIA, importances
from methods._rounds import pruned_in_rounds


@dataclass(frozen=True)
class ImportancePruning(Method):
    """Remove the channels of least importance by a criterion of Torch-Pruning, then fine-tune (arXiv 2301.12900).

    ``taylor``: what the loss would change by in first order (Molchanov et al., CVPR 2019); ``hessian``: in second order
    (LeCun et al. 1989), from ``batches`` single examples; ``group_norm``, ``magnitude`` and ``lamp`` (arXiv 2010.07611)
    look at weights; ``fpgm`` (He et al., CVPR 2019) at filters that others can stand in for; ``bn_scale`` at the scales
    of batch norms (arXiv 1708.06519), where groups without one stay whole; ``random`` at nothing. Each gradient costs a
    step.
    """

    stage = "post_hoc"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    criterion: str = tune("taylor", choices=CRITERIA)
    rounds: int = tune(1, choices=(1, 2, 4))
    batches: int = 4

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Score, prune and fine-tune, ``rounds`` times."""
        batches = min(self.batches, max(1, trainer.steps_left // (2 * self.rounds)))  # gradients are paid for in steps

        def score(widths: Widths) -> dict[str, Tensor]:
            return importances(self.criterion, widths, trainer, batches)

        return pruned_in_rounds(model, trainer, self.budget, self.rounds, score)
