"""What somebody wants to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.execution.executor import Cluster
from bench.results.points import comparison_folder
from bench.trial.repeatable import CPU, Hardware
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
    distill: bool = False  # whether all learn from the dense model, too
    trial_timeout_s: float | None = None  # after which a trial that still trains is ended; None for never
    cluster: Cluster | None = None  # of Ray; None for this machine

    @property
    def folder(self) -> Path:
        return comparison_folder(self.results, self.task, self.preset)
