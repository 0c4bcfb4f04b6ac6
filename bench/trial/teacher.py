"""Knowledge distillation: a training also listens to the dense model of its seed (Hinton et al., arXiv 1503.02531)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.errors import MethodError
from bench.plugins.task import Batch, Task
from bench.trial.ledger import PASSES, step_macs

WEIGHT = 0.7  # of what the teacher says, in the loss


class Teacher:
    """A trained dense model that others learn from.

    Args:
        task: whose loss and distance are used.
        model: the teacher; it stays as it is.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self._task, self._model = task, model.eval().requires_grad_(False)

    def loss_and_outputs(self, student: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The task's loss and the distance to the teacher's outputs, shape (); and the student's outputs.

        Raises:
            MethodError: as the function of this name.
        """
        own, said = loss_and_outputs(self._task, student, batch)
        with torch.no_grad():
            outputs = self._model.to(batch.inputs.device)(batch.inputs)
        return (1 - WEIGHT) * own + WEIGHT * self._task.distance(said, outputs), said

    def macs(self, inputs: Tensor) -> float:
        """Of its pass over these inputs."""
        return step_macs(self._model.cpu(), inputs.cpu()) / PASSES


def loss_and_outputs(task: Task, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """A task's loss, shape (), and the outputs (B, ...) of the pass that it was computed from.

    Raises:
        MethodError: the task's loss does not call the model itself.
    """
    with _listening(model) as said:
        loss = task.loss(model, batch)
    if not said:
        raise MethodError(f"the loss of task {type(task).__name__} does not call its model: it has no outputs")
    return loss, said[-1]


@contextmanager
def _listening(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the outputs of a model's passes."""
    said: list[Tensor] = []

    def hear(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        said.append(outputs)

    hook = model.register_forward_hook(hear)
    try:
        yield said
    finally:
        hook.remove()
