"""What a training costs, step by step, and how its loss goes."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor, nn

from bench.errors import BenchError, MethodError
from bench.widths.cost import count_macs

#: MACs of a training step in those of a forward pass: one for the outputs, one each for two kinds of gradients
PASSES = 3

Report = Callable[[int, float], None]  # of the steps done and the loss


@dataclass
class Ledger:
    """Steps and MACs of a training; a trainer shares it with the limited views of it."""

    steps: int = 0
    asked: int = 0  # of steps, as a method counts them
    macs: float = 0.0
    shared_cpu_s: float = 0.0  # of what another trial has trained for this one
    fitting: bool = False

    @contextmanager
    def own_step(self, macs: float) -> Iterator[None]:
        """Around the gradient of a step that is paid for already."""
        self.fitting = True
        try:
            yield
        finally:
            self.fitting = False
        self.macs += macs


class Meter:
    """Collects the learning curve, reports progress, and stops a training whose loss is no longer finite."""

    def __init__(self, ledger: Ledger, curve: list[dict[str, float]], every: int, report: Report) -> None:
        self._ledger, self._curve, self._every, self._report = ledger, curve, every, report
        self._losses: list[Tensor] = []
        self._rate, self._reported = 0.0, time.monotonic()

    def update(self, loss: Tensor, rate: float) -> None:
        """A step was taken: its loss, shape (), and its learning rate."""
        self._ledger.steps += 1
        self._losses.append(loss)
        self._rate = rate
        if len(self._losses) == self._every:
            self.flush()

    def flush(self) -> None:
        """End a point of the curve; a mean loss that is not finite is a ``MethodError``."""
        if not self._losses:
            return
        mean = float(torch.stack(self._losses).mean())
        self._losses.clear()
        if not math.isfinite(mean):
            raise MethodError(f"the training loss became {mean} by step {self._ledger.steps}")
        self._curve.append({"step": self._ledger.steps, "loss": mean, "learning_rate": self._rate})
        if time.monotonic() - self._reported >= 1:
            self._reported = time.monotonic()
            self._report(self._ledger.steps, mean)


def require_steps(steps: int, left: int) -> None:
    """Raise a ``MethodError`` for what is no number of steps, or more than are left."""
    if not isinstance(steps, Integral):
        raise MethodError(f"asked for {steps!r} training steps: expected a whole number")
    if not 0 <= steps <= left:
        raise MethodError(f"asked for {steps} training steps with {left} left")


def require_gradient(loss: Tensor) -> None:
    """Raise a ``MethodError`` for a loss that cannot be differentiated: it is one number, from the model's weights."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise MethodError(f"the loss is a tensor of shape (), one number, not {given}: take its mean")
    if not loss.requires_grad:
        raise MethodError("the loss has no gradient: it was detached, or no weight of the model is trained")


def step_macs(model: nn.Module, inputs: Tensor) -> float:
    """MACs of a training step on these inputs; NaN if the model runs an operator (of a method) whose cost is unknown.

    Hooks are not called, and no random numbers are used up.
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
