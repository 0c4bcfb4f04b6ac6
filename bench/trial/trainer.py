"""The only training loop. It keeps the account of training steps, and is all that a method sees of the task."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bench.export.costs import node_macs
from bench.export.model import OnnxModel, export_onnx
from bench.plugins.task import Batch, Plan, Progress, Task
from bench.trial.beginning import Shared, Spent
from bench.trial.guard import own_files, reading
from bench.trial.ledger import PASSES, Ledger, Meter, Report, require_gradient, require_steps, step_macs
from bench.trial.repeatable import CPU, Hardware, seed_everything, stream_seed
from bench.trial.schedules import Schedule, factor
from bench.trial.teacher import Teacher, loss_and_outputs
from bench.widths.cost import Price, count_macs
from bench.widths.widths import Widths

Loss = Callable[[nn.Module, Batch], Tensor]
Effort = Literal["steps", "macs"]  # what every model of a comparison is trained with the same of


class Trainer:
    """Trains a model on the train split of a task, within a number of optimiser steps.

    With ``effort="macs"`` a step is what one of the dense model costs: a model of a quarter of its compute takes four
    optimiser steps for it. Steps that a method asks for, and those that are left, are such steps.

    Args:
        task: where batches and loss come from.
        plan: batch size and learning rate.
        steps: that may be spent.
        seed: decides the order of the data.
        dense_macs: compute of the task's dense model, which budgets are fractions of.
        width_multiple: widths that the solvers choose are multiples of this.
        width_groups: beginnings of the names of the width groups that methods may change; all unless given.
        effort: what is equal for all, optimiser steps or multiply-accumulates of training.
        price: what budgets are shares of; MACs unless given.
        teacher: the dense model that every training listens to, if any; its passes are charged.
        beginning: where ``begin`` finds what others with this seed have trained.
        front: where ``train_once`` finds what the same method has trained for all budgets.
        report: called about once a second with the fraction of ``steps`` done and the loss, in words.

    Attributes:
        dense_macs: as given.
        curve: points of the learning curve: step, mean loss since the point before, learning rate.
        notes: remarks of the method for the reader of the result.
        logged: numbers that the method has seen and that decide nothing, by name.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        *,
        steps: int,
        seed: int,
        dense_macs: int,
        width_multiple: int = 1,
        width_groups: Sequence[str] = (),
        hardware: Hardware = CPU,
        effort: Effort = "steps",
        price: Price | None = None,
        beginning: Shared | None = None,
        front: Shared | None = None,
        teacher: Teacher | None = None,
        report: Progress = lambda fraction, note: None,
    ) -> None:
        self._effort: Effort = effort
        self._price = price
        self.plan, self._steps_left = plan, steps
        self._task, self._seed, self.dense_macs, self._hardware = task, seed, dense_macs, hardware
        self._width_multiple, self._width_groups = width_multiple, tuple(width_groups)
        hardware.make_repeatable()
        self._report: Report = lambda done, loss: report(min(1.0, done / max(1, steps)), f"loss {loss:.3f}")
        self._order = reading(task.batches("train", stream_seed(seed, "order")))
        self._ledger = Ledger()
        self._parent: Trainer | None = None
        self._beginning, self._front, self._teacher = beginning, front, teacher
        self.curve: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.logged: dict[str, float] = {}

    @property
    def device(self) -> str:
        """Where the model and its batches are within ``fit``: ``cpu``, ``cuda``, ``cuda:1``.

        Everywhere else they are on the CPU. What a loss uses beside them (a teacher, masks) must be brought here.
        """
        return self._hardware.device

    @property
    def steps_left(self) -> int:
        return self._steps_left if self._parent is None else min(self._steps_left, self._parent.steps_left)

    @property
    def macs_done(self) -> int | None:
        """Multiply-accumulates spent on training steps so far, each step as three forward passes; None if unknown."""
        return int(self._ledger.macs) if math.isfinite(self._ledger.macs) else None

    @property
    def steps_done(self) -> int:
        return self._ledger.steps

    @property
    def effort_done(self) -> int:
        """What counts against ``steps``: optimiser steps, or those of the dense model that cost as much."""
        return self._ledger.steps if self._effort == "steps" else self._ledger.asked

    @property
    def shared_cpu_s(self) -> float:
        """CPU seconds of what another trial has trained for this one."""
        return self._ledger.shared_cpu_s

    def note(self, text: str) -> None:
        """Keep a remark, such as a width that the method cannot act on."""
        if text not in self.notes:
            self.notes.append(text)

    def log(self, **numbers: float) -> None:
        """Keep numbers beside the result, under names with units; MLflow shows them as ``method_<name>``."""
        self.logged |= {name: float(number) for name, number in numbers.items()}

    def limited(self, steps: int) -> "Trainer":
        """A view that may spend this many of the steps left, and shares all else."""
        require_steps(steps, self.steps_left)
        view = copy.copy(self)
        view._steps_left, view._parent = steps, self
        return view

    def charge(self) -> None:
        """Pay a step for a gradient that a method computes outside ``fit``; within, it is part of a paid step."""
        if not self._ledger.fitting:
            self._spend(1)
            self._ledger.steps += 1

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's training loss, shape (); with a teacher, what it says is a part of it."""
        return self._task.loss(model, batch) if self._teacher is None else self.loss_and_outputs(model, batch)[0]

    def loss_and_outputs(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the model's outputs (B, ...) that it was computed from: a penalty on them needs no second pass.

        Raises:
            MethodError: the task's loss does not call the model itself.
        """
        if self._teacher is not None:
            return self._teacher.loss_and_outputs(model, batch)
        return loss_and_outputs(self._task, model, batch)

    def distance(self, outputs: Tensor, others: Tensor) -> Tensor:
        """How far outputs (B, ...) are from those of another model, shape (), in what suits the task.

        That is the divergence of softened classes for classification, of an utterance or each frame, else the squared
        error.
        """
        return self._task.distance(outputs, others)

    def batches(self) -> Iterator[Batch]:
        """Endless batches of the train split, in an order of their own: for calibration and statistics."""
        return reading(self._task.batches("train", stream_seed(self._seed, "calibration")))

    def widths(self, model: nn.Module) -> Widths:
        """The width graph of a model; budgets are fractions of the task's dense model."""
        example, axis = self._task.example_input(), self._task.input_width_axis
        widths = Widths(model, example, self.dense_macs, self._width_multiple, axis, price=self._price, strict=False)
        for name, why in widths.fixed.items():
            self.note(f"Left whole: {name}, as {why}.")
        return widths.only(self._width_groups) if self._width_groups else widths

    def cost(self, model: nn.Module) -> float:
        """What a model costs as a share of the dense model: its MACs, or what else the budgets are in."""
        if self._price is not None:
            return float(self.widths(model).cost())
        return count_macs(model, self._task.example_input()) / self.dense_macs

    def export(self, model: nn.Module) -> OnnxModel:
        """The model as an ONNX file, for methods that work on one."""
        return export_onnx(model, self._task.example_input())

    def node_macs(self, model: OnnxModel) -> dict[str, list[int]]:
        """MACs of each node of a file, by its first output: of its product, or of a recurrent layer's W and R."""
        return node_macs(model, tuple(self._task.example_input().shape))

    def fit(
        self,
        model: nn.Module,
        steps: int | None = None,
        *,
        loss: Loss | None = None,
        after_step: Callable[[int], None] | None = None,
        extra_parameters: Sequence[Mapping[str, Any]] = (),
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        schedule: Schedule = "one_cycle",
        part: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Train ``model`` in place, with AdamW unless another optimiser is given.

        Args:
            model: left in eval mode, and on the CPU.
            steps: all that are left unless given; see the class for what a step is.
            loss: replaces the task's loss (add a penalty to ``trainer.loss``).
            after_step: called with the number of steps done in this call, after each optimiser step.
            extra_parameters: further parameter groups, such as gates with a rate of their own.
            optimizer: makes another optimiser from the parameter groups, such as ``lambda groups:
                torch.optim.SGD(groups, trainer.plan.learning_rate, momentum=0.9)``.
            schedule: of all learning rates: up over a fifth and down to nothing, constant, constant after a rise over
                a twentieth of the plan's steps, or straight down to nothing.
            part: from where to where of that schedule these steps go, for a training in several calls.

        Raises:
            MethodError: more steps than are left, or a loss that is not finite.
        """
        steps = self.steps_left if steps is None else steps
        self._spend(steps)
        steps = self._optimiser_steps(steps, model)
        loss, plan, device = loss or self.loss, self.plan, self._hardware.device
        groups = [{"params": list(model.to(device).parameters())}, *map(dict, extra_parameters)]
        _move([p for group in groups[1:] for p in group["params"]], device)
        adam = partial(torch.optim.AdamW, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
        steered = (optimizer or adam)(groups)
        scheduler = LambdaLR(steered, factor(schedule, steps, plan, part))
        meter = Meter(self._ledger, self.curve, max(1, plan.total_steps // 50), self._report)
        model.train()
        macs = 0.0
        for step in range(1, steps + 1):
            batch = next(self._order)
            macs = macs or step_macs(model, batch.inputs.to(device)) + self._taught(batch.inputs)
            with self._hardware.autocast():
                value = loss(model, Batch(batch.inputs.to(device), batch.targets.to(device)))
            require_gradient(value)
            steered.zero_grad(set_to_none=True)
            with self._ledger.own_step(macs):
                value.backward()  # type: ignore[no-untyped-call]
                steered.step()
            scheduler.step()
            if after_step is not None:
                after_step(step)
            meter.update(value.detach(), steered.param_groups[0]["lr"])
        meter.flush()
        model.cpu().eval()
        _move([p for group in groups[1:] for p in group["params"]], "cpu")

    def begin(self, model: nn.Module, steps: int) -> None:
        """Train the fresh model as dense models begin: with the task's loss, at a constant rate after a rise.

        It is the same for all methods that begin so with the same seed: the first one trains it, all are charged.

        Args:
            model: left in eval mode, and on the CPU.
            steps: see the class.

        Raises:
            MethodError: as ``fit``.
        """
        self._once(self._beginning, model, steps, lambda fresh: self.fit(fresh, steps, schedule="warm_up"))

    def train_once(self, model: nn.Module, train: Callable[[nn.Module], None], *, serves: int) -> None:
        """Train a model for all budgets of a ``FrontMethod``, whose models divide the cost.

        The first that begins with these weights calls ``train``, with a copy of its own; the others are given what came
        of it.

        Args:
            model: left in eval mode, and on the CPU.
            train: a training with this trainer, which depends on nothing but the seed and settings for all budgets.
            serves: so many budgets.

        Raises:
            MethodError: as ``fit``.
        """
        shared = None if self._front is None else self._front.of(model)
        self._once(shared, model, self.steps_left, train, serves)

    def _once(
        self, shared: Shared | None, model: nn.Module, steps: int, train: Callable[[nn.Module], None], serves: int = 1
    ) -> None:
        """Train a model unless another trial has; the random numbers before and after are the same in either case."""
        seed_everything(stream_seed(self._seed, "beginning"))
        if shared is None or self._ledger.steps or not shared.fits(model):
            train(model)
        else:
            with own_files():
                spent = shared.load(model, steps, lambda fresh: self._spent(fresh, train))
            if not self._ledger.steps:  # another trial has trained it
                self._charge_for(spent)
            else:
                self._ledger.shared_cpu_s -= spent.cpu_s
            if serves > 1:
                self.note(f"One training serves {serves} budgets, which divide its cost.")
            self._ledger.macs /= serves
            self._ledger.shared_cpu_s += spent.cpu_s / serves
        seed_everything(stream_seed(self._seed, "method"))

    def _spent(self, fresh: nn.Module, train: Callable[[nn.Module], None]) -> Spent:
        """Train a fresh model."""
        started = time.process_time()
        with own_files(False):
            train(fresh)
        cpu_s = time.process_time() - started
        return Spent(self._ledger.steps, self._ledger.asked, self._ledger.macs, cpu_s, list(self.curve))

    def _charge_for(self, spent: Spent) -> None:
        """Leave everything as if it had been trained here."""
        self._spend(spent.asked)
        self._ledger.steps, self._ledger.macs = spent.steps, spent.macs
        self.curve.extend(spent.curve)
        for _ in range(spent.steps):
            next(self._order)

    def _optimiser_steps(self, steps: int, model: nn.Module) -> int:
        """How many steps of this model are as much effort."""
        if self._effort == "steps":
            return steps
        example = self._task.example_input()
        share = (step_macs(model, example) + self._taught(example)) / (PASSES * self.dense_macs)
        return steps if math.isnan(share) else round(steps / share)

    def _taught(self, inputs: Tensor) -> float:
        """MACs of the teacher's pass over these inputs."""
        return 0.0 if self._teacher is None else self._teacher.macs(inputs)

    def _spend(self, steps: int) -> None:
        require_steps(steps, self.steps_left)
        self._ledger.asked += steps
        payer: Trainer | None = self
        while payer is not None:
            payer._steps_left -= steps
            payer = payer._parent


def _move(parameters: Sequence[nn.Parameter], device: str) -> None:
    """Parameters that are no part of the model go where it goes."""
    for parameter in parameters:
        parameter.data = parameter.data.to(device)
