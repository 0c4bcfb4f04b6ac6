"""While a method has the floor: what it may not touch is out of its reach, and what it spends is charged.

This keeps a comparison honest against mistakes and shortcuts, not against an attacker: Python has no wall inside a
process. What counts in the end is measured by another process, from the files (``bench/trial/verify.py``).
"""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.errors import MethodError
from bench.plugins.task import Batch, Plan, Split, Task

if TYPE_CHECKING:
    from bench.trial.trainer import Trainer

_STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod")


class _Watch:
    """Says no while it has folders to watch; Python keeps an audit hook for as long as the process lives."""

    def __init__(self) -> None:
        self.hooked = False
        self.roots: tuple[str, ...] = ()
        self.reading = False

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An event of the interpreter, before it happens.

        Raises:
            MethodError: it is none that a method may cause.
        """
        if not self.roots or self.reading:
            return
        if event in _STARTING:
            raise MethodError(f"the method starts a process of its own ({event}), which nobody would account for")
        if event == "open" or event in _CHANGING:
            for path in arguments[:2]:
                if isinstance(path, (str, bytes, os.PathLike)) and self._watched(os.fsdecode(path)):
                    raise MethodError(
                        f"the method touches {os.fsdecode(path)} while it trains: prepared data, held-out data and "
                        "results are not for methods; trainer.batches() and trainer.loss() are"
                    )

    def _watched(self, path: str) -> bool:
        return f"{os.path.realpath(path)}{os.sep}".startswith(self.roots)


_watch = _Watch()


@contextmanager
def watching(roots: Sequence[Path]) -> Iterator[None]:
    """While this lasts, files in these folders are opened for training batches alone, and no process is started.

    Python code is seen; a library in C that opens a file by its name is not.

    Raises:
        MethodError: from whatever tried it.
    """
    if not _watch.hooked:
        sys.addaudithook(_watch.seen)
        _watch.hooked = True
    _watch.roots = tuple(f"{root.resolve()}{os.sep}" for root in roots)
    try:
        yield
    finally:
        _watch.roots = ()


def reading(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; what they read from the watched folders is allowed."""
    while True:
        _watch.reading = True
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            _watch.reading = False
        yield batch


_SCORING = ("evaluate", "item_scores", "summary", "prepare")


@contextmanager
def sealed(task: Task, trainer: "Trainer", roots: Sequence[Path]) -> Iterator[None]:
    """While this lasts, dev and eval are out of reach, and whatever is spent outside ``Trainer.fit`` is charged.

    Args:
        task: of the trial; only its train split can be drawn from.
        trainer: charged with the gradients that the method computes on its own.
        roots: folders that are read for training batches alone: caches, results, the user's corpora.

    Raises:
        MethodError: the method reads dev or eval, touches watched files, starts processes, spends more than it has,
            or changes the task, its plan or the engine.
    """
    engine, before = _engine(), _state(task, trainer.plan)
    with ExitStack() as stack:
        kind = type(task)
        stack.enter_context(patch.object(kind, "batches", _only_train(kind.batches)))
        for name in filter(lambda name: hasattr(kind, name), _SCORING):
            stack.enter_context(patch.object(kind, name, _refused(name)))
        guards = {name: vars(kind)[name] for name in ("batches", "evaluate")}
        stack.enter_context(_charged(trainer))
        stack.enter_context(watching(roots))
        yield
        if replaced := [name for name, guard in guards.items() if vars(kind).get(name) is not guard]:
            raise MethodError(f"the method replaced {', '.join(replaced)} of the task {kind.__name__}")
    after = _state(task, trainer.plan)
    if changed := [
        f"{name} from {before[name]!r} to {after[name]!r}" for name in before if before[name] != after[name]
    ]:
        raise MethodError(f"the method changed the task: {', '.join(changed)}")
    if replaced := [name for name, thing in _engine().items() if engine.get(name, thing) is not thing]:
        raise MethodError(f"the method replaced {', '.join(replaced)}: the engine is not for methods to change")


def _state(task: Task, plan: Plan) -> dict[str, Any]:
    """What decides how a trial trains, by name."""
    return {**task.identity(), **{f"plan.{f.name}": getattr(plan, f.name) for f in dataclasses.fields(plan)}}


def _only_train(batches: Any) -> Any:
    def guarded(self: Task, split: Split, seed: int) -> Iterator[Batch]:
        if split != "train":
            raise MethodError(f"the method asks for the {split} split: dev chooses and eval reports, neither trains")
        found: Iterator[Batch] = batches(self, split, seed)
        return found

    return guarded


def _refused(name: str) -> Any:
    def refused(*_: Any, **__: Any) -> Any:
        raise MethodError(
            f"the method calls {name}() of the task: models are scored by the harness, when they are done"
        )

    return refused


@contextmanager
def _charged(trainer: "Trainer") -> Iterator[None]:
    """A backward pass outside ``fit`` costs a training step; an optimiser step outside it needs one that was paid."""
    taken = 0

    def stepped(*_: Any) -> None:
        nonlocal taken
        taken += 1

    def charging(function: Any) -> Any:
        def charged(*arguments: Any, **options: Any) -> Any:
            trainer.charge()
            return function(*arguments, **options)

        return charged

    handle = register_optimizer_step_post_hook(stepped)
    before, allowed = trainer.steps_done, trainer.steps_left
    try:
        with (
            patch.object(torch.autograd, "backward", charging(torch.autograd.backward)),
            patch.object(torch.autograd, "grad", charging(torch.autograd.grad)),
        ):
            yield
    finally:
        handle.remove()
    if (paid := trainer.steps_done - before) > allowed:
        raise MethodError(f"the method spent {paid} training steps, it had {allowed}")
    if taken > paid:
        raise MethodError(f"the method took {taken} optimiser steps, {paid} of them by the trainer's leave")


def _engine() -> dict[str, Any]:
    """Every function and class of the engine, and the methods of its classes, by name."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "bench":
            for key, value in list(vars(module).items()):
                if callable(value):
                    found[f"{name}.{key}"] = value
                if isinstance(value, type) and value.__module__ == name:
                    found |= {f"{name}.{key}.{own}": thing for own, thing in vars(value).items() if callable(thing)}
    return found
