"""Holds a model that the user brought to the shapes of the task."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from bench.errors import BenchError, said
from bench.export.model import Predictor, export_onnx
from bench.plugins.own_model import dense_model, own_model, with_own_models
from bench.plugins.task import Task


def check_own_model(task: Task) -> None:
    """Hold a model that the user brought to the shapes of the task, before anything is trained.

    Raises:
        BenchError: it cannot be built, its outputs are not shaped like those of the task's default model, or the file
            that it is exported to computes something else.
    """
    if not (name := own_model(task)):
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model, reference = dense_model(task).eval(), with_own_models(task).build_model().eval()
        one = torch.randn_like(task.example_input())
        two = torch.cat([one, torch.randn_like(one)])
        for inputs, refused, remedy in (
            (one, "does not take one example of this task", "wrap it in a module that does, or write a task"),
            (two, "takes one example but not two", "it fixes its batch size; reshape by x.shape[0] or -1 instead"),
        ):
            try:
                outputs = model(inputs)
            except Exception as error:  # of somebody else's code
                given = f"of shape {tuple(inputs.shape)} and {inputs.dtype}"
                raise BenchError(f"--model {name}: it {refused}, {given} ({said(error)}): {remedy}") from error
        sizes = _output_shape(reference, two)
        wanted = f"({', '.join('any length' if size is None else str(size) for size in sizes)})"
        if not isinstance(outputs, Tensor):
            kind = type(outputs).__name__
            raise BenchError(f"--model {name}: it returns a {kind}, expected one tensor of shape {wanted}, alone")
        fits = all(size in (None, own) for size, own in zip(sizes, outputs.shape, strict=False))
        if not fits or len(sizes) != outputs.dim():
            fixed = "; it fixes its batch size" if outputs.shape[:1] == (1,) else ""
            raise BenchError(
                f"--model {name}: inputs of shape {tuple(two.shape)} give outputs of shape {tuple(outputs.shape)}, "
                f"expected {wanted}{fixed}"
            )
        exported = Predictor(export_onnx(model, one))
        for inputs in (two, -two, 10 * two, two.abs()):
            expected = model(inputs)
            if float((exported(inputs) - expected).abs().max()) > 1e-3 * float(expected.abs().max()) + 1e-6:
                raise BenchError(
                    f"--model {name}: exported, it computes something else: its control flow depends on values, such "
                    "as `if x.mean() > 0`, or it draws random numbers in eval mode; use torch.where, or no branch"
                )


def _output_shape(reference: nn.Module, inputs: Tensor) -> tuple[int | None, ...]:
    """The shape of the outputs; None for what follows the length of the input, which models may round otherwise."""
    shape = longer = reference(inputs).shape
    with suppress(RuntimeError):  # of a model of inputs of one size alone
        longer = reference(torch.cat([inputs, inputs], -1)).shape
    return tuple(size if size == other else None for size, other in zip(shape, longer, strict=True))
