"""What a user asks for, and what is checked of it before anything is started."""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.errors import BenchError, did_you_mean
from bench.execution.executor import Cluster
from bench.plugins.registry import load_method_spec, load_task, names
from bench.plugins.task import Task
from bench.trial.trainer import CPU, Hardware

CHAINS = ("magnitude_pruning+quantization",)  # compared by default, beside every single method
ENOUGH_BYTES = 500_000_000


@dataclass(frozen=True)
class Request:
    """What is to be compared, and how; None means as the preset has it.

    Attributes:
        methods: method specs; empty for all methods that can be loaded.
        results: folder that everything is written to.
        jobs: processes at a time on this machine.
        tracking_uri: MLflow store; None for SQLite in the results.
        budgets: fractions of the dense compute.
        fields: fields of the task that the user chose.
        width_groups: beginnings of the names of the width groups that methods may change; empty for all.
        trial_timeout_s: seconds after which a trial that still trains is ended; None for never.
        cluster: the Ray cluster that trials run on; None for this machine.
    """

    task: str
    preset: str
    methods: tuple[str, ...]
    results: Path
    jobs: int
    tracking_uri: str | None = None
    budgets: tuple[float, ...] | None = None
    trials: int | None = None
    seeds: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    width_multiple: int = 1
    width_groups: tuple[str, ...] = ()
    hardware: Hardware = CPU
    trial_timeout_s: float | None = None
    cluster: Cluster | None = None

    @property
    def folder(self) -> Path:
        """Where the comparison keeps its files."""
        return self.results / self.task / self.preset


def checked(request: Request) -> tuple[Request, dict[str, str]]:
    """The request with its methods named, and why each of the others cannot be loaded.

    Raises:
        BenchError: a task, preset, field or method that does not exist, data that is missing, or a results folder
            that cannot be written to.
    """
    task = load_task(request.task)
    shared = {f.name for f in dataclasses.fields(Task)}  # which the preset and the results folder decide
    known = [f.name for f in dataclasses.fields(task) if f.name not in shared]
    for name in request.fields:
        if name not in known:
            option = f"--{name}" if name in ("data", "model") else f"--set {name}=..."
            raise BenchError(
                f"task {request.task} has no field {name!r} that {option} could set{did_you_mean(name, known)}; "
                f"it has: {', '.join(known)}"
            )
    task.at(request.preset, **request.fields).check()
    methods, broken = _loadable(request.methods)
    _require_room(request.results)
    return dataclasses.replace(request, methods=methods), broken


def present_device(wanted: str) -> str:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means; ``auto`` is a GPU if there is one.

    Raises:
        BenchError: it is not there, or is none of these.
    """
    found = torch.cuda.device_count()
    if wanted == "auto":
        return "cuda" if found else "cpu"
    kind, _, number = wanted.partition(":")
    if wanted != "cpu" and (kind != "cuda" or not (number or "0").isdigit()):
        raise BenchError(f"no device is called {wanted!r}; expected auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= found:
        raise BenchError(f"device {wanted} is not there: PyTorch sees {found or 'no'} CUDA devices; try --device cpu")
    return wanted


def _loadable(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods that were asked for, or else all that can be loaded; and why others cannot be."""
    loadable, broken = [], {}
    for name in wanted or (*names("methods"), *CHAINS):
        try:
            load_method_spec(name)
        except BenchError as error:  # an unfinished file stops the comparison only if it was asked for
            if wanted:
                raise
            broken[name] = str(error)
        else:
            loadable.append(name)
    return tuple(loadable), broken


def _require_room(results: Path) -> None:
    """Make the results folder, and refuse one that cannot be written to or that has too little room."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".probe.{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise BenchError(
            f"cannot write to the results folder {results}: {error.strerror}; choose another with --results"
        ) from error
    free = shutil.disk_usage(results).free
    if free < ENOUGH_BYTES:
        raise BenchError(
            f"the results folder {results} has {free / 1e6:,.0f} MB left, {ENOUGH_BYTES / 1e6:,.0f} MB are needed; "
            "make room or choose another with --results"
        )
