"""Methods to which something happens, each its own: they hang, diverge, are killed, run out of memory."""

import os
import signal
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Method, Trainer
from bench.plugins.task import Batch


@dataclass(frozen=True)
class Hangs(Method):
    """Waits for nothing."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        while True:
            time.sleep(1)


@dataclass(frozen=True)
class Diverges(Method):
    """Has a loss that is no number, in the end."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model, 2)

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            return trainer.loss(network, batch) * float("nan")

        trainer.fit(model, 2, loss=loss)
        return model


@dataclass(frozen=True)
class IsKilled(Method):
    """Is killed as by a system that has no memory left."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        os.kill(os.getpid(), signal.SIGKILL)
        return model


@dataclass(frozen=True)
class WantsMemory(Method):
    """Asks for more memory than there is."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        torch.zeros(2**50)
        return model
