"""Holds a plugin to the contract: every method and task of this project passes, and so should yours.

``bench.testing`` has the same for tests of your own.
"""

import inspect
from collections.abc import Iterator

from bench.check.method import PROBE, check_method, ensure_repeats, known_to_repeat
from bench.check.own_model import check_own_model
from bench.check.probe import Probe, ProbeNet, smallest
from bench.check.rules import ContractError, each_within
from bench.check.task import check_task, require_disjoint
from bench.errors import BenchError
from bench.plugins.method import MethodSpec
from bench.plugins.own_model import with_own_models
from bench.plugins.registry import load_method_spec, load_task, names
from bench.plugins.task import Task

__all__ = [
    "ContractError",
    "Probe",
    "ProbeNet",
    "check_method",
    "check_method_spec",
    "check_own_model",
    "check_plugin",
    "check_task",
    "ensure_repeats",
    "known_to_repeat",
    "require_disjoint",
]


def check_plugin(name: str, limit_s: float = 300.0, *, task: str = "", model: str = "") -> Iterator[str]:
    """Check a method or a task by name: a line for each rule that holds, a ``ContractError`` for one that does not.

    What its code raises, ``sys.exit`` included, is such an error, and so is a step that takes longer than ``limit_s``.

    Args:
        name: of a task or a method, or a method spec, ``a+b:x=1``.
        limit_s: for each rule.
        task: what a method is tried on, at its smallest preset; a tiny task of random numbers unless given.
        model: of that task, or of the task that is checked; also one of the user's own.

    Raises:
        BenchError: there is no such plugin, or a rule is broken (``ContractError``).
    """
    if name not in names("tasks"):
        yield from check_method_spec(load_method_spec(name), limit_s, task=task, model=model)
    elif task:
        raise BenchError(f"{name} is a task; --task {task} is for a method: what it is tried on")
    else:
        kind = load_task(name)
        yield from each_within(limit_s, name, {inspect.getfile(kind)}, _checked_task(kind, model))


def check_method_spec(spec: MethodSpec, limit_s: float, *, task: str = "", model: str = "") -> Iterator[str]:
    """``check_plugin`` of a method, which no name need be known for."""
    if model and not task:
        raise BenchError(f"--model {model} is of a task: say which with --task")
    ground = _prepared(load_task(task), model) if task else PROBE
    files = {inspect.getfile(link) for link in spec.classes}
    yield from each_within(limit_s, spec.name, files, check_method(spec, ground))


def _checked_task(kind: type[Task], model: str) -> Iterator[str]:
    yield from check_task(_prepared(kind, model))


def _prepared(kind: type[Task], model: str) -> Task:
    """The task at its smallest preset, with its data."""
    if model and not hasattr(kind, "model"):
        raise BenchError(f"task {kind.__name__} has no field 'model' that --model could set")
    task = kind.at(smallest(kind), **({"model": model} if model else {}))
    with_own_models(task).check()
    check_own_model(task)
    task.prepare(1, lambda fraction, note: None)
    return task
