"""A model of the user's own in place of a task's: ``--model package.module:build`` or ``--model file.py:build``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, blaming, did_you_mean
from bench.plugins.task import Task
from bench.storage.files import file_digest

if TYPE_CHECKING:  # a report needs no PyTorch
    from torch import nn


def own_model(task: Task) -> str:
    """What names the user's own model in the task's field ``model``; empty for a model of the task."""
    name = str(getattr(task, "model", ""))
    return name if ":" in name else ""


def dense_model(task: Task) -> nn.Module:
    """The dense model, freshly initialised from torch's global random state: the task's, or the user's own.

    Parametrizations such as weight norm are folded into the weights of the latter, which is trained without them: the
    norm of a weight would change with every channel that goes.

    Raises:
        BenchError: there is no such model, or it is no ``nn.Module``.
    """
    name = own_model(task)
    return task.adopt(_built(name)) if name else task.build_model()


def with_own_models(task: Task) -> Task:
    """The task with its default model, if it was given one of the user's: what the task itself can check and build."""
    return replace(task, model=type(task)().model) if own_model(task) else task  # type: ignore[attr-defined, call-arg]


def _built(name: str) -> nn.Module:
    from torch import nn

    with blaming(f"--model {name}: it fails"):
        model = _builder(name)()
    if not isinstance(model, nn.Module):
        raise BenchError(f"--model {name}: it returns a {type(model).__name__}, expected a torch.nn.Module")
    _fold(model)
    return model


def _fold(model: nn.Module) -> None:
    from torch.nn.utils import remove_weight_norm
    from torch.nn.utils.parametrize import remove_parametrizations
    from torch.nn.utils.weight_norm import WeightNorm

    for module in list(model.modules()):
        for parameter in list(getattr(module, "parametrizations", {})):
            remove_parametrizations(module, parameter)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)


def _builder(name: str) -> Callable[[], Any]:
    place, _, function = name.rpartition(":")
    module = _imported(place)
    found = getattr(module, function, None)
    if not callable(found):
        known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise BenchError(
            f"--model {name}: {place} has no function {function!r}{did_you_mean(function, known)}; expected one "
            "without parameters that returns a torch.nn.Module"
        )
    return found  # type: ignore[no-any-return]


@cache
def _imported(place: str) -> ModuleType:
    if place.endswith(".py") and not Path(place).is_file():
        raise BenchError(f"--model: there is no file {place} in {Path.cwd()}")
    with blaming(f"--model: {place} cannot be imported"):
        if not place.endswith(".py"):
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(f"model_{file_digest(Path(place))}", place)
        assert spec is not None and spec.loader is not None
        sys.path.append(str(Path(place).parent.resolve()))  # what lies beside it can be imported, as from any script
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
