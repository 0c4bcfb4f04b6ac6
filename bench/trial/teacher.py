"""Knowledge distillation: a training also listens to the dense model of its seed (Hinton et al., arXiv 1503.02531)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import MethodError
from bench.plugins.task import Batch, Task
from bench.trial.ledger import PASSES, step_macs

WEIGHT = 0.7  # of what the teacher says, in the loss
TEMPERATURE = 2.0


class Teacher:
    """A trained dense model that others learn from.

    Args:
        task: whose loss and distance are used.
        model: the teacher; it stays as it is.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self._task, self._model = task, model.eval().requires_grad_(False)

    def loss(self, student: nn.Module, batch: Batch) -> Tensor:
        """The task's loss and the distance to the teacher's outputs, shape (); no second pass of the student.

        Raises:
            MethodError: the task's loss does not call the model itself.
        """
        with _listening(student) as said:
            own = self._task.loss(student, batch)
        if not said:
            raise MethodError(
                f"the loss of task {type(self._task).__name__} does not call its model: nothing to distil"
            )
        with torch.no_grad():
            outputs = self._model.to(batch.inputs.device)(batch.inputs)
        return (1 - WEIGHT) * own + WEIGHT * self._task.distance(said[-1], outputs)

    def macs(self, inputs: Tensor) -> float:
        """Of its pass over these inputs."""
        return step_macs(self._model.cpu(), inputs.cpu()) / PASSES


def soft_divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far the classes (B, C, ...) of a model are from a teacher's, shape (): Kullback-Leibler at ``TEMPERATURE``.

    It is multiplied by the squared temperature, so that its gradients are as large as those of a cross-entropy.
    """
    wanted, said = (functional.log_softmax(own / TEMPERATURE, dim=1) for own in (teacher, logits))
    return TEMPERATURE**2 * functional.kl_div(said, wanted, reduction="none", log_target=True).sum(1).mean()


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
