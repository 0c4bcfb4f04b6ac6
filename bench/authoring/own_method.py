"""A compression method of your own: one file, one class, found by its name in the folder ``methods/``."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench import Batch, Method, Trainer, tune


@dataclass(frozen=True)
class OwnMethod(Method):
    """Remove the channels of least norm, fine-tune with small outputs. (Say what yours does, and whose idea it is.)"""

    stage = "post_hoc"  # it is given a trained model; "in_training": a fresh one, and all the training steps
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)  # the share of the dense cost that the result may have
    norm: int = tune(2, choices=(1, 2))  # tune() makes a setting that is searched
    penalty: float = 1e-3  # this one is fixed: `bench run TASK --methods own_method:penalty=0.01` sets it

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """The smaller model; help(bench.Trainer) and help(bench.Widths) say what else there is."""
        widths = trainer.widths(model)  # which channels of any network live and die together, and what they cost
        scores = widths.norms(self.norm)  # (size,) for each group; put your own criterion here
        model = widths.keep(widths.strongest(scores, self.budget))  # the largest model within the budget

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            own, outputs = trainer.loss_and_outputs(network, batch)
            return own + self.penalty * outputs.square().mean()

        trainer.fit(model, loss=loss)  # all steps that are left; without `loss` it is that of the task
        return model
