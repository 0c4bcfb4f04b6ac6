"""The dense model: what everything is compared with."""

from torch import nn

from bench import Method, Trainer


class Dense(Method):
    """No compression: the dense model, trained with the whole step budget."""

    stage = "in_training"
    control = True

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Train it."""
        trainer.fit(model)
        return model
