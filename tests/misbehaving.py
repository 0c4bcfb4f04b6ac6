"""An honest method, methods that cheat and methods to which something happens, each in one way.

The command knows them as those of an installed package (``tests/installed.py``).
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import Batch, Method, Trainer


@dataclass(frozen=True)
class Honest(Method):
    """Trains, and that is all."""

    stage = "post_hoc"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        return model


class ReadsDev(Honest):
    """Trains on the dev split."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer._order = trainer._task.batches("dev", 0)  # type: ignore[assignment]
        trainer.fit(model, 1)
        return model


class ReadsEvalFiles(Honest):
    """Opens the features of the eval split by the name of their file."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        np.load(next(trainer._task.cache.glob("antispoof-eval-*")) / "frames.npy")
        trainer.fit(model)
        return model


class AsksForEval(Honest):
    """Scores itself on eval and would keep the best of its models."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        trainer._task.evaluate(model, "eval")
        return model


class OverspendsSteps(Honest):
    """Goes on with an optimiser of its own after all steps are spent."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        for _, batch in zip(range(50), trainer.batches(), strict=False):
            optimizer.zero_grad()
            trainer.loss(model.train(), batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return model


class RaisesItsAllowance(Honest):
    """Gives itself more steps than it was given."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer._steps_left = 40
        trainer.fit(model)
        return model


@dataclass(frozen=True)
class OnlyMasks(Honest):
    """Sets half of the weights to zero and calls them removed."""

    budget: float = 0.5

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.flatten()[::2] = 0
        return model


class KeepsHooks(Honest):
    """Leaves a hook that does part of the work."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        model.register_forward_hook(lambda module, inputs, output: output * 2)
        return model


class ChangesTheTask(Honest):
    """Makes its batches larger than everybody else's."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        object.__setattr__(trainer._task, "batch_size", 60)
        trainer._order = trainer._task.batches("train", 0)
        trainer.fit(model)
        return model


class ChangesTheData(Honest):
    """Writes into the prepared features of the dev split."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        frames = next(trainer._task.cache.glob("antispoof-dev-*")) / "frames.npy"
        with frames.open("r+b") as file:
            file.seek(1000)
            file.write(b"\0" * 1000)
        return model


class Hiding(nn.Module):
    """A model beside which a tensor is kept that nobody has registered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.known_by_heart = (torch.ones(60, 2) / 60,)  # in a tuple, so that no module sees it

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + x.mean(2) @ self.known_by_heart[0]  # type: ignore[no-any-return]


class HidesParameters(Honest):
    """Returns a model with parameters that are in no list."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        return Hiding(model)


class ReportsItsOwnFigures(Honest):
    """Replaces what counts MACs, in the process that it has."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        for name in ("bench.export.costs", "bench.trial.verify", "bench.trial.compress"):
            module: Any = sys.modules.get(name)
            for function in ("file_costs", "count_macs"):
                if hasattr(module, function):
                    setattr(module, function, lambda *_: 1)
        return model


class WritesItsOwnScores(Honest):
    """Leaves an eval score where the harness would look for one."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        for folder in (trainer._task.cache.parent / "antispoof" / "smoke" / "trials").iterdir():
            (folder / "eval.json").write_text('{"eer_percent": 0.0}')
        return model


class RegrowsAfterTheAudit(Honest):
    """Starts a process that puts a larger model in the place of the small one, once that has been looked at."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        subprocess.Popen(["sleep", "1"], start_new_session=True)
        return model


class IsUnseeded(Honest):
    """Draws from a generator that nobody seeds."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        with torch.no_grad():
            last = list(model.parameters())[-1]
            last += torch.from_numpy(np.random.default_rng().normal(size=last.shape)).float()
        return model


class Raises(Honest):
    """Divides by zero."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        raise ZeroDivisionError("division by zero")


class Exits(Honest):
    """Ends its process as if all were well."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        sys.exit(0)


class ReturnsNoModel(Honest):
    """Returns what is no model."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        return {"accuracy": 1.0}  # type: ignore[return-value]


class ReturnsNan(Honest):
    """Returns a model of NaN."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float("nan"))
        return model


class AsksForMoreSteps(Honest):
    """Trains for longer than it may."""

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        trainer.fit(model, steps=1)
        return model


class Diverges(Honest):
    """Has a loss that becomes NaN."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model, 2)

        def loss(network: nn.Module, batch: Batch) -> Tensor:
            return trainer.loss(network, batch) * float("nan")

        trainer.fit(model, 2, loss=loss)
        return model


class Hangs(Honest):
    """Waits for nothing."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        while True:
            time.sleep(1)


class IsKilled(Honest):
    """Is killed as by a system that has no memory left."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        os.kill(os.getpid(), signal.SIGKILL)
        return model


class WantsMemory(Honest):
    """Asks for more memory than there is."""

    stage = "in_training"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        torch.zeros(2**50)
        return model
