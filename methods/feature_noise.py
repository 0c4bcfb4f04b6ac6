"""Feature-noise reparameterization: widths learned by gradient descent while the network trains."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench import Batch, Method, Trainer, tune
from methods._steering import BudgetSteering
from methods._width_noise import WidthNoise

WARM_UP = 0.02  # share of the steps before the first noise
RATE = 5.0  # learning rate of the widths x steps of the search


@dataclass(frozen=True)
class FeatureNoise(Method):
    """Learn each width by replacing features beyond it with noise (Gómez and Bäckström 2026, arXiv 2601.13704).

    The widths are searched during ``search_share`` of the steps, steered to the budget; then the network is made
    physically smaller and trained on. ``form="sampled"`` draws the widths anew for every example and uses differences
    of examples as noise; ``form="literal"`` is the published equation: one noisy feature, Gaussian, nothing drawn.
    """

    stage = "in_training"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    search_share: float = tune(0.25, low=0.1, high=0.6)
    form: str = tune("sampled", choices=("sampled", "literal"))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Search the widths, consolidate, train the smaller network."""
        widths = trainer.widths(model)
        warm = round(WARM_UP * trainer.steps_left)
        search = max(warm + 1, round(self.search_share * trainer.steps_left))
        sampled = self.form == "sampled"
        noise = WidthNoise(widths.sizes, 2.0 if sampled else 1.0, 0.25 if sampled else 0.0, gaussian=not sampled)
        steering = BudgetSteering(self.budget, round(0.6 * (search - warm)))
        step = 0

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            if step < warm:
                return trainer.loss(network, batch)
            noise.draw(len(batch.inputs), annealing=1 - (step - warm) / (search - warm))
            task_loss = trainer.loss(network, batch)
            compute = widths.macs(noise.widths()) / widths.reference_macs
            return task_loss + steering.penalty(compute, task_loss)

        def after_step(done: int) -> None:
            nonlocal step
            step = done
            noise.project()

        shares = {"params": list(noise.shares.values()), "lr": RATE / (search - warm), "weight_decay": 0.0}
        with widths.gate(noise.gates()):
            trainer.fit(model, search, loss=loss, after_step=after_step, extra_parameters=[shares], schedule="constant")
        found = {name: float(width.detach()) for name, width in noise.widths().items()}
        small = widths.keep(widths.strongest(widths.proportional(found), self.budget))
        trainer.fit(small)
        return small
