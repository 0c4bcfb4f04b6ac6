"""What decides a trial: the setting that a comparison has, a method with its settings, and a seed."""

import os
import platform
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bench.export.runtimes import DEFAULT, TIMED_IN
from bench.plugins.own_model import own_model
from bench.plugins.registry import load_method_spec, load_task, model_digest, source_digest
from bench.plugins.task import Plan, Task
from bench.storage.cache import content_key
from bench.trial.repeatable import CPU, Hardware
from bench.trial.trainer import Effort
from bench.widths import CostAxis

ON_DISK = "data on disk"  # stands for a path, wherever data with a digest lie
#: of a plan, what a comparison may choose; none of it decides the result of a trial
_CHOSEN = ("fields", "trials", "seeds", "budgets", "left_out", "also")


@dataclass(frozen=True)
class Setting:
    """What all trials of a comparison have in common."""

    task: str
    preset: str
    fields: Mapping[str, Any] = field(default_factory=dict)  # of the task, as the user chose
    cache: str = "results/cache"  # folder of prepared data and dense models
    data_digest: str = ""  # of the prepared data, from ``Task.prepare``
    width_multiple: int = 1  # of which all widths are multiples
    width_groups: tuple[str, ...] = ()  # beginnings of the names of those that methods may change; empty for all
    hardware: Hardware = CPU
    effort: Effort = "steps"  # what every model is trained with the same of
    cost: CostAxis = "macs"  # what budgets are shares of
    prices: Mapping[str, str] = field(default_factory=dict)  # digests of what widths cost, by what makes the files
    runtime: str = DEFAULT  # what executes the files that are scored and timed
    threads: int = 1  # of the runtime, where it is timed
    distill: bool = False  # whether all but the dense model learn from the dense model, too

    def build_task(self) -> Task:
        return load_task(self.task).at(self.preset, cache=Path(self.cache), **self.fields)

    @property
    def plan(self) -> Plan:
        return load_task(self.task).presets[self.preset]

    @cached_property
    def made_from(self) -> dict[str, Any]:
        """What decides the weights of the dense model, apart from the seed; JSON-serialisable."""
        task = self.build_task()
        return {
            "task": self.task,
            "fields": {name: self._named(value) for name, value in task.identity().items()},
            "data": self.data_digest,
            "plan": {k: v for k, v in asdict(self.plan).items() if k not in _CHOSEN},
            "code": source_digest((type(task),)),
            **({"model_code": model_digest(own_model(task))} if own_model(task) else {}),
            "torch": torch.__version__,
            "processor": platform.machine(),
            "hardware": asdict(self.hardware),
            "effort": self.effort,
            "distill": self.distill,
        }

    @property
    def timed_in(self) -> dict[str, Any]:
        """What decides how models are scored and timed, beside the machine; JSON-serialisable."""
        return {"runtime": self.runtime, "threads": self.threads}

    def _named(self, value: Hashable) -> str:
        """A field of the task in words; data on disk is known by its digest, wherever it lies, if there is one."""
        path = Path(str(value))
        on_disk = path.is_file() or (os.sep in str(value) and path.is_dir())  # a model may be called like a folder
        return ON_DISK if on_disk and self.data_digest else str(value)


@dataclass(frozen=True)
class TrialSpec:
    """What decides a trial: its setting, a method (or chain) with settings of its own, and a seed."""

    setting: Setting
    method: str
    settings: Mapping[str, Any]
    seed: int

    @cached_property
    def key(self) -> str:
        """Names the trial by everything that decides its result: 16 hexadecimal digits."""
        timed = self.setting.timed_in
        return self.training if timed == TIMED_IN else content_key({"training": self.training, **timed})

    @cached_property
    def training(self) -> str:
        """The same of what decides the model alone, whatever executes it afterwards."""
        method_spec = load_method_spec(self.method)
        return content_key(
            {
                **self.setting.made_from,
                "method": method_spec.chain,
                "settings": {**method_spec.fixed, **self.settings},
                "seed": self.seed,
                "width_multiple": self.setting.width_multiple,
                "width_groups": self.setting.width_groups,
                "cost": self.setting.cost,
                "price": self.setting.prices.get(method_spec.terminal, ""),
                "method_code": source_digest(method_spec.classes),
            }
        )
