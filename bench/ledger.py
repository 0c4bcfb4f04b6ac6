"""What training spends and how it goes: steps, multiply-accumulates, the learning curve."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.errors import BenchError, MethodError
from bench.measure.macs import count_macs

#: MACs of a training step in those of a forward pass: one for the outputs, one each for two kinds of gradients
PASSES = 3


class Ledger:
    """What has been spent and seen; shared by a trainer and the limited views of it."""

    def __init__(self) -> None:
        self.steps = 0
        self.macs = 0.0
        self.fitting = False
        self.curve: list[dict[str, float]] = []
        self.notes: list[str] = []

    @contextmanager
    def own_step(self, macs: float) -> Iterator[None]:
        """A gradient that has been paid for."""
        self.fitting = True
        try:
            yield
        finally:
            self.fitting = False
        self.macs += macs


class Meter:
    """Collects the learning curve, reports progress, and stops a training whose loss is no longer a number."""

    def __init__(self, ledger: Ledger, on_progress: Callable[[int, float], None], every: int) -> None:
        self._ledger, self._on_progress, self._every = ledger, on_progress, every
        self._losses: list[Tensor] = []
        self._rate = 0.0
        self._reported = time.monotonic()

    def update(self, loss: Tensor, rate: float) -> None:
        """A step was taken: its loss, shape (), and its learning rate."""
        self._ledger.steps += 1
        self._losses.append(loss)
        self._rate = rate
        if len(self._losses) == self._every:
            self.flush()

    def flush(self) -> None:
        """End a point of the curve.

        Raises:
            MethodError: the mean loss since the point before is not finite.
        """
        if not self._losses:
            return
        mean = float(torch.stack(self._losses).mean())
        self._losses.clear()
        if not math.isfinite(mean):
            raise MethodError(f"the training loss became {mean} by step {self._ledger.steps}")
        self._ledger.curve.append({"step": self._ledger.steps, "loss": mean, "learning_rate": self._rate})
        if time.monotonic() - self._reported >= 1:
            self._reported = time.monotonic()
            self._on_progress(self._ledger.steps, mean)


def step_macs(model: nn.Module, inputs: Tensor) -> float:
    """MACs of a training step on these inputs, with hooks put aside: neither they nor random numbers notice.

    Not a number where the model runs an operator (in a parametrization of a method) whose cost is unknown.
    """
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    hooks = [(vars(module)[kind], dict(vars(module)[kind])) for module in model.modules() for kind in kinds]
    for registered, _ in hooks:
        registered.clear()
    try:
        with torch.random.fork_rng(devices=[]):
            return PASSES * len(inputs) * count_macs(model, inputs[:1])
    except BenchError:
        return math.nan
    finally:
        for registered, content in hooks:
            registered.update(content)
