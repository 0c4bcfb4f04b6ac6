"""Holds a method to the contract: it is run on a tiny task, or on one of yours."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.check.probe import Probe, smallest
from bench.check.rules import ContractError, require
from bench.errors import BudgetError, Declined, MethodError, said
from bench.export.costs import file_costs
from bench.export.model import OnnxModel, Predictor, export_onnx, rebuilt_model, require_plain, save_module
from bench.plugins.method import Method, MethodSpec, search_space
from bench.plugins.own_model import dense_model
from bench.plugins.registry import source_digest
from bench.plugins.task import Progress, Task
from bench.storage.cache import cached_folder, content_key
from bench.trial.compress import probe_inputs
from bench.trial.guard import sealed
from bench.trial.repeatable import seed_everything
from bench.trial.trainer import Trainer
from bench.trial.verify import largest_difference
from bench.widths.cost import count_macs

PROBE = Probe(batch_size=16)


def check_method(method_spec: MethodSpec, task: Task = PROBE) -> Iterator[str]:
    """Run a method at half the compute on a task with prepared data; a line for each rule, as ``check_plugin``.

    A method that declines the task, or cannot reach that budget on it, says so in its last line: that is no error.
    """
    yield from map(_declaration, method_spec.classes)
    method = method_spec.build(method_spec.at_compute(0.5))
    try:
        first, trainer = _run(method, task)
    except (Declined, BudgetError) as error:
        yield f"declines {type(task).__name__}, which is no error; nothing else can be checked there: {said(error)}"
        return
    given = trainer.steps_done + trainer.steps_left
    untrained = "" if trainer.steps_done else "; nothing trains its weights, which stay as they came"
    yield f"stays within its steps ({trainer.steps_done} of {given}){untrained}"
    exported = first if isinstance(first, OnnxModel) else _plain_module(first, task)
    yield "returns a plain model that exports to ONNX"
    yield _delivered(method, exported, task)
    if isinstance(first, nn.Module):
        yield _rebuilt(first, task)
    _same(task, exported, _file_of(_run(method, task)[0], task))
    yield "gives the same model for the same seed"


def known_to_repeat(method_spec: MethodSpec, cache: Path) -> bool:
    """Whether this code of a method has been found to give the same model twice."""
    return (cache / f"repeats-{content_key(_repeat_identity(method_spec))}").is_dir()


def ensure_repeats(method_spec: MethodSpec, cache: Path, report: Progress) -> None:
    """Job: train on ``Probe`` twice from the same seed, and remember a method that gives the same model twice.

    Another model is a ``ContractError``. A method that cannot be run there passes: its trials will say what is wrong.
    """
    method = method_spec.build(method_spec.at_compute(0.5))
    try:
        first, second = (_file_of(_run(method, PROBE)[0], PROBE) for _ in range(2))
    except BaseException:  # of the plugin, or of the machine: nothing was found out, so nothing is remembered
        return
    _same(PROBE, first, second)
    cached_folder(cache, "repeats", _repeat_identity(method_spec), lambda folder: None)


def _repeat_identity(method_spec: MethodSpec) -> dict[str, Any]:
    code = source_digest((check_method, *method_spec.classes))
    return {"method": method_spec.name, "code": code, "torch": torch.__version__}


def _declaration(method: type[Method]) -> str:
    require(bool(inspect.getdoc(method)), f"{method.__name__} has a docstring, with its source")
    parameters = getattr(method, "__dataclass_params__", None)
    require(parameters is not None and parameters.frozen, f"{method.__name__} is a frozen dataclass")
    settings = ", ".join(search_space(method)) or "none"
    return f"{method.__name__}: {method.stage}, documented, frozen; settings that are searched: {settings}"


def _run(method: Method, task: Task) -> tuple[nn.Module | OnnxModel, Trainer]:
    plan = task.presets[smallest(type(task))]
    seed_everything(0)
    model = dense_model(task)
    dense_macs = count_macs(model, task.example_input())
    steps = plan.total_steps if method.stage == "in_training" else plan.finetune_steps
    trainer = Trainer(task, plan, steps=steps, seed=0, dense_macs=dense_macs)
    with sealed(task, trainer, ()):
        result = method.compress(model, trainer)
    if not isinstance(result, (nn.Module, OnnxModel)):
        raise MethodError(f"compress() returned {type(result).__name__}, expected a Module or an OnnxModel")
    return result, trainer


def _plain_module(model: nn.Module, task: Task) -> OnnxModel:
    try:
        require_plain(model, task.example_input())
    except MethodError as error:
        raise ContractError(f"breaks the contract: {error}") from error
    exported, inputs = export_onnx(model, task.example_input()), probe_inputs(task, 0)
    with torch.no_grad():
        difference = largest_difference(model.eval()(inputs), Predictor(exported)(inputs))
    require(difference < 1e-4, f"the exported file computes what the model does (they differ by {difference:.2g})")
    return exported


def _delivered(method: Method, exported: OnnxModel, task: Task) -> str:
    dense = count_macs(dense_model(task), task.example_input())
    costs = file_costs(exported, tuple(task.example_input().shape))
    budget, delivered = method.promised_budget, costs.promised(method.promises)
    zeros = costs.macs - costs.effective_macs if method.promises == "structure" else 0
    hint = "; zeros in weights count only if the class says promises = 'mask'" if zeros > 0.01 * dense else ""
    if budget is not None:
        require(delivered <= budget * dense, f"asked for {budget:g} of the compute, got {delivered / dense:.4f}{hint}")
    counted = {"non-zero": costs.effective_macs, "bit operations": costs.promised("bits")}
    shares = ", ".join(f"{number / dense:.3f} {name}" for name, number in counted.items())
    aim = "" if budget is not None or method.control else "; without a field `budget` it aims at no cost"
    return f"costs {costs.macs / dense:.3f} of the dense MACs ({shares}){aim}{hint}"


def _rebuilt(model: nn.Module, task: Task) -> str:
    with TemporaryDirectory() as folder:
        save_module(model, task, Path(folder))
        if rebuilt_model(task, Path(folder)) is not None:
            return "is built again from its recipe and its weights"
    return (
        "cannot be built again by anybody else, only its file is measured: change the structure by widths.keep() and "
        "bench.factorized(), which note what they do"
    )


def _file_of(model: nn.Module | OnnxModel, task: Task) -> OnnxModel:
    return model if isinstance(model, OnnxModel) else export_onnx(model, task.example_input())


def _same(task: Task, *models: OnnxModel) -> None:
    first, second = (Predictor(model)(probe_inputs(task, 0)).numpy() for model in models)
    require(
        np.array_equal(first, second, equal_nan=True),
        "the same seed gives the same model, to the bit: draw random numbers from torch's, numpy's or Python's global "
        "generator, which are seeded",
    )
