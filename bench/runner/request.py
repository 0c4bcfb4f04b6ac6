"""What somebody wants to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.errors import BenchError, did_you_mean
from bench.execution.executor import Cluster
from bench.export.runtimes import DEFAULT
from bench.plugins.fields import typed
from bench.plugins.registry import load_task
from bench.plugins.task import Task
from bench.results.index import comparison_folder
from bench.storage.cache import CACHE
from bench.trial.repeatable import CPU, Hardware
from bench.trial.setting import Setting
from bench.trial.trainer import Effort
from bench.widths import CostAxis


@dataclass(frozen=True)
class Request:
    """What is to be compared, and how; None means as the preset has it."""

    task: str
    preset: str
    methods: tuple[str, ...]  # method specs; empty for all methods that can be loaded
    results: Path  # folder that everything is written to
    jobs: int  # processes at a time on this machine
    tracking_uri: str | None = None  # of the MLflow store; None for SQLite in the results
    budgets: tuple[float, ...] | None = None  # fractions of the dense compute
    trials: int | None = None
    seeds: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)  # of the task, as the user chose
    width_multiple: int = 1
    width_groups: tuple[str, ...] = ()  # beginnings of the names of those that methods may change; empty for all
    hardware: Hardware = CPU
    effort: Effort = "steps"  # what every model is trained with the same of
    cost: CostAxis = "macs"  # what budgets are shares of
    runtime: str = DEFAULT  # what executes the files that are scored and timed
    threads: int = 1  # of the runtime, where it is timed
    distill: bool = False  # whether all learn from the dense model, too
    trial_timeout_s: float | None = None  # after which a trial that still trains is ended; None for never
    cluster: Cluster | None = None  # of Ray; None for this machine

    @property
    def folder(self) -> Path:
        return comparison_folder(self.results, self.task, self.preset)

    @property
    def setting(self) -> Setting:
        """What all its trials have in common; the digest of the data and the prices are not known yet."""
        return Setting(
            self.task,
            self.preset,
            self.fields,
            str(self.results / CACHE),
            width_multiple=self.width_multiple,
            width_groups=self.width_groups,
            hardware=self.hardware,
            effort=self.effort,
            distill=self.distill,
            cost=self.cost,
            runtime=self.runtime,
            threads=self.threads,
        )


def typed_fields(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a user gives to fields of a task, in the types that it declares; a list for a tuple is one.

    Raises:
        BenchError: the task has no such field, or it is of another type.
    """
    task = load_task(name)
    shared = {f.name for f in fields(Task)}  # which the preset and the results folder decide
    known = [f.name for f in fields(task) if f.name not in shared]
    values = {}
    for field_name, value in given.items():
        if field_name not in known:
            option = f"--{field_name}" if field_name in ("data", "model") else f"--set {field_name}=..."
            raise BenchError(
                f"task {name} has no field {field_name!r} that {option} could set{did_you_mean(field_name, known)}; "
                f"it has: {', '.join(known)}"
            )
        values[field_name] = typed(task, field_name, value, f"--set {field_name}")
    return values
