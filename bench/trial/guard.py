"""While a method runs: dev, eval and results are out of its reach, and the gradients it computes are charged.

This keeps a comparison honest against mistakes and shortcuts, not against an attacker: Python has no wall inside a
process. Quality and compute are measured by another process (``verify.py``); what training costs only here.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.errors import MethodError
from bench.plugins.task import Batch, Plan, Split, Task
from bench.trial import ledger

_STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod")


class Payer(Protocol):
    """A trainer, which is charged with what its method spends; it imports the guard, and not the other way round."""

    plan: Plan

    @property
    def steps_done(self) -> int: ...

    @property
    def effort_done(self) -> int: ...

    @property
    def steps_left(self) -> int: ...

    def charge(self) -> None: ...


class _Watch:
    """An audit hook of Python, which lasts as long as the process; it refuses nothing while it has no folders."""

    hooked = reading = False
    roots: tuple[str, ...] = ()

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.roots or self.reading:
            return
        if event in _STARTING:
            raise MethodError(f"the method starts a process of its own ({event}), whose cost nobody would count")
        if event != "open" and event not in _CHANGING:
            return
        for path in arguments[: 1 if event == "open" else 2]:  # what follows the path is a mode, such as "r"
            if isinstance(path, (str, bytes, os.PathLike)):
                name = os.fsdecode(path)
                if f"{os.path.realpath(name)}{os.sep}".startswith(self.roots):
                    raise MethodError(
                        f"the method touches {name} while it trains: prepared data, held-out data and results are not "
                        "for methods; trainer.batches() and trainer.loss() are"
                    )


_watch = _Watch()


@contextmanager
def watching(roots: Sequence[Path]) -> Iterator[None]:
    """While this lasts, only ``reading`` may open files in these folders, and no process may be started.

    What Python code opens is noticed, with a ``MethodError`` there; what a library in C opens by itself is not.
    """
    if not _watch.hooked:
        sys.addaudithook(_watch.seen)
        _watch.hooked = True
    _watch.roots = tuple(f"{root.resolve()}{os.sep}" for root in roots)
    try:
        yield
    finally:
        _watch.roots = ()


@contextmanager
def own_files(own: bool = True) -> Iterator[None]:
    """While this lasts, the engine itself reads and writes in the watched folders; unless ``own``, a method again."""
    before, _watch.reading = _watch.reading, own
    try:
        yield
    finally:
        _watch.reading = before


def reading(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, which may be read from the watched folders."""
    while True:
        with own_files():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


_GRADIENT = "_engine_run_backward"  # what backward() and grad() of torch.autograd call, however they were imported
_SCORING = ("evaluate", "item_scores", "summary", "prepare")


@contextmanager
def sealed(task: Task, trainer: Payer, roots: Sequence[Path]) -> Iterator[None]:
    """While this lasts, dev and eval are out of reach, and every gradient outside ``Trainer.fit`` costs a step.

    Args:
        task: only its train split can be drawn from.
        trainer: charged with the gradients that the method computes on its own.
        roots: folders that are read for training batches alone: caches, results, the user's corpora.

    Raises:
        MethodError: the method reads dev or eval, touches watched files, starts processes, spends more steps than it
            has, or changes the task, its plan or what counts the cost of training.
    """
    kind, counting, before = type(task), _counting(trainer), _state(task, trainer.plan)
    refused: dict[str, Any] = {name: _refused(name) for name in _SCORING}
    with patch.multiple(kind, batches=_only_train(kind.batches), **refused), _charged(trainer), watching(roots):
        guarded = [(kind, "batches"), (kind, "evaluate"), (torch.autograd, _GRADIENT), (_watch, "roots")]
        guards = [vars(owner)[name] for owner, name in guarded]
        yield
        for (owner, name), guard in zip(guarded, guards, strict=True):
            if vars(owner).get(name) is not guard:
                raise MethodError(f"the method replaced {name} of {getattr(owner, '__name__', 'the guard')}")
    after = _state(task, trainer.plan)
    if changed := [f"{n} from {before[n]!r} to {after[n]!r}" for n in before if before[n] != after[n]]:
        raise MethodError(f"the method changed the task: {', '.join(changed)}")
    if replaced := [name for name, thing in _counting(trainer).items() if counting.get(name, thing) is not thing]:
        raise MethodError(f"the method replaced {', '.join(replaced)}: what counts the cost of training must stay")


def _state(task: Task, plan: Plan) -> dict[str, Any]:
    """What decides how a trial trains, by name; the fields of the task are read without any code of the task."""
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task) if f.compare}
    return {**fields, **{f"plan.{f.name}": getattr(plan, f.name) for f in dataclasses.fields(plan)}}


def _counting(trainer: Payer) -> dict[str, Any]:
    """The functions and classes of the modules that train and count, with the methods of these classes, by name."""
    modules: list[Any] = [sys.modules[type(trainer).__module__], ledger]
    own = {module.__name__ for module in modules}
    classes = (c for module in modules for c in vars(module).values() if isinstance(c, type) and c.__module__ in own)
    owners = [*modules, *classes]
    found = {f"{owner.__name__}.{name}": thing for owner in owners for name, thing in vars(owner).items()}
    return {name: thing for name, thing in found.items() if callable(thing) or isinstance(thing, property)}


def _only_train(batches: Callable[[Task, Split, int], Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
    def guarded(self: Task, split: Split, seed: int) -> Iterator[Batch]:
        if split != "train":
            raise MethodError(f"the method asks for the {split} split: dev chooses and eval reports, neither trains")
        return batches(self, split, seed)

    return guarded


def _refused(name: str) -> Callable[..., None]:
    def refused(*_: Any, **__: Any) -> None:
        raise MethodError(f"the method calls {name}() of the task: the harness scores models when they are done")

    return refused


@contextmanager
def _charged(trainer: Payer) -> Iterator[None]:
    """A gradient outside ``fit`` costs a training step; an optimiser step outside it needs one that was paid.

    Gradients and optimiser steps are counted here as well, out of the reach of what the trainer says of itself.
    """
    gradients = taken = depth = 0
    run = getattr(torch.autograd, _GRADIENT)

    def stepped(*_: Any) -> None:
        nonlocal taken
        taken += 1

    def charged(*arguments: Any, **options: Any) -> Any:
        nonlocal gradients, depth
        trainer.charge()
        gradients += depth == 0  # a gradient inside another one, as of checkpointing, is part of it
        depth += 1
        try:
            return run(*arguments, **options)
        finally:
            depth -= 1

    handle = register_optimizer_step_post_hook(stepped)
    before, spent, allowed = trainer.steps_done, trainer.effort_done, trainer.steps_left
    try:
        with patch.object(torch.autograd, _GRADIENT, charged):
            yield
    finally:
        handle.remove()
    paid = trainer.steps_done - before
    if (spent := trainer.effort_done - spent) > allowed:
        raise MethodError(f"the method spent {spent} training steps, it had {allowed}")
    if max(taken, gradients) > paid:
        raise MethodError(
            f"the method took {taken} optimiser steps and {gradients} gradients, but paid for {paid} steps"
        )
