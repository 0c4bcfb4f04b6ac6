"""The trials of a comparison: what each was asked, what came of it, and the index that says which belong to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.plugins.method import MethodSpec
from bench.plugins.registry import load_task
from bench.plugins.task import Metric
from bench.results.points import COMPARISONS, INDEX
from bench.results.selection import frozen_choices
from bench.stats.fronts import best_possible_front
from bench.storage.cache import content_key
from bench.storage.files import read_json, write_json
from bench.trial.compress import Setting, TrialSpec


@dataclass
class Run:
    """One training run.

    Attributes:
        method_spec: its method.
        number: of the trial in the method's study; repeats with other seeds have the number of their trial.
        spec: what to train.
        role: ``search`` for a trial of the study, ``repeat`` for a chosen point with another seed.
        record: what came of it, once it has finished.
    """

    method_spec: MethodSpec
    number: int
    spec: TrialSpec
    role: Literal["search", "repeat"]
    record: dict[str, Any] | None = None

    @cached_property
    def asked_compute(self) -> float | None:
        """The fraction of the dense compute that was asked for."""
        return self.method_spec.build(self.spec.settings).asked_compute

    @property
    def label(self) -> str:
        """Its name for a person."""
        asked = "" if self.asked_compute is None else f" at {self.asked_compute:.3g}"
        return f"{self.method_spec.name}{asked}" + (f", seed {self.spec.seed}" if self.spec.seed else "")

    @property
    def has_model(self) -> bool:
        """Whether it has finished with a model."""
        return self.record is not None and self.record["status"] in ("complete", "missed")

    @property
    def objectives(self) -> tuple[float, float] | None:
        """Dev score and compute (non-zero MACs as a fraction of the dense model's); None without a model."""
        if not self.has_model or self.record is None:
            return None
        return next(iter(self.record["dev"].values())), self.record["effective_macs"] / self.record["dense_macs"]

    def error(self, sign: int) -> float | None:
        """What it is chosen by, small is good: its dev error, infinite if it missed its budget; None: no model."""
        if self.objectives is None or self.record is None:
            return None
        return math.inf if self.record["status"] == "missed" else sign * self.objectives[0]

    def entry(self, *, chosen: bool) -> dict[str, Any]:
        """How the comparison's index names it."""
        return {
            "key": self.spec.key,
            "trial": self.number,
            "seed": self.spec.seed,
            "role": self.role,
            "budget": self.asked_compute,
            "settings": dict(self.spec.settings),
            "chosen": chosen,
        }


def chosen_runs(runs: Sequence[Run], metric: Metric, budgets: Sequence[float]) -> list[Run]:
    """The best run on dev of every method and budget, of those of the search."""
    sign = 1 if metric.direction == "minimize" else -1
    chosen = []
    for name in dict.fromkeys(run.method_spec.name for run in runs):
        own = {run.number: run for run in runs if run.method_spec.name == name and run.role == "search"}
        errors = {n: run.error(sign) for n, run in own.items()}
        asked = {number: run.asked_compute for number, run in own.items()}
        chosen += [own[number] for number in frozen_choices(asked, errors, budgets)]
    return chosen


def write_index(
    folder: Path,
    setting: Setting,
    method_specs: Sequence[MethodSpec],
    *,
    runs: Sequence[Run],
    frozen: Sequence[Run],
    asked: Mapping[str, Any],
) -> None:
    """Write the index of a comparison; entries of methods that took no part this time stay.

    A preset may be run with several models or data sets: each is a comparison of its own, kept under its identity, and
    ``comparison.json`` is the latest.

    Args:
        folder: of the comparison.
        setting: what all its trials have in common.
        method_specs: the methods of this run.
        runs: their training runs; those without a record are left out.
        frozen: the runs that were chosen.
        asked: what else is to be kept: budgets, seeds, provenance.
    """
    task = load_task(setting.task)
    identity = content_key(
        {**setting.made_from, "multiple": setting.width_multiple, "width_groups": setting.width_groups}
    )
    kept = folder / COMPARISONS / f"{identity}.json"
    before = read_json(kept) or {}
    delivered = [share for share, _ in before.get("best_possible", [])]
    delivered += [run.record["macs_ratio"] for run in runs if run.record and run.has_model]
    index = {
        **asked,
        "identity": identity,
        "task": setting.task,
        "preset": setting.preset,
        "metric": asdict(task.metric),
        "work_unit": task.work_unit,
        "plan": {name: value for name, value in asdict(setting.plan).items() if name != "fields"},
        "setting": {**setting.made_from, "width_groups": " ".join(setting.width_groups) or "all"},
        "best_possible": best_possible_front(setting.build_task(), delivered),
        "methods": {**before.get("methods", {}), **_methods(method_specs, runs, frozen)},
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, index)
    write_json(folder / INDEX, index)


def _methods(method_specs: Sequence[MethodSpec], runs: Sequence[Run], frozen: Sequence[Run]) -> dict[str, Any]:
    chosen = {id(run) for run in frozen}
    return {
        method_spec.name: {
            "stage": method_spec.stage,
            "control": method_spec.control,
            "trials": [
                run.entry(chosen=id(run) in chosen)
                for run in runs
                if run.method_spec is method_spec and run.record is not None
            ],
        }
        for method_spec in method_specs
    }
