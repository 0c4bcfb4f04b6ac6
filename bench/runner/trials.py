"""A trial that a comparison has planned, and which of them are read on eval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.plugins.method import MethodSpec
from bench.plugins.task import Metric
from bench.results.points import MethodEntry, Role, TrialEntry
from bench.results.selection import frozen_choices
from bench.trial.compress import TrialSpec
from bench.trial.record import TrialRecord


@dataclass
class PlannedTrial:
    """A trial of a comparison.

    Attributes:
        method_spec: its method.
        number: of the trial in the method's study; repeats with other seeds have the number of their trial.
        spec: what to train.
        role: ``search`` for a trial of the study, ``repeat`` for a chosen one with another seed.
        record: what came of it, once it has finished.
    """

    method_spec: MethodSpec
    number: int
    spec: TrialSpec
    role: Role
    record: TrialRecord | None = None

    @cached_property
    def asked_compute(self) -> float | None:
        """The share of the dense compute that was asked for."""
        return self.method_spec.build(self.spec.settings).asked_compute

    @property
    def label(self) -> str:
        """Its name in messages."""
        asked = "" if self.asked_compute is None else f" at {self.asked_compute:.3g}"
        return f"{self.method_spec.name}{asked}" + (f", seed {self.spec.seed}" if self.spec.seed else "")

    @property
    def has_model(self) -> bool:
        return self.record is not None and self.record.has_model

    def objectives(self, metric: Metric) -> tuple[float, float] | None:
        """Dev score and non-zero MACs as a share of the dense model's; None without a model."""
        return None if self.record is None else self.record.objectives(metric.column)

    def error(self, metric: Metric) -> float | None:
        """What it is chosen by, small is good: its dev error, infinite for a missed budget; None without a model."""
        objectives = self.objectives(metric)
        if self.record is None or objectives is None:
            return None
        sign = 1 if metric.direction == "minimize" else -1
        return math.inf if self.record.status == "missed" else sign * objectives[0]

    def entry(self, *, chosen: bool) -> TrialEntry:
        """How the index of the comparison names it."""
        settings, compute = dict(self.spec.settings), self.asked_compute
        return TrialEntry(self.spec.key, self.number, self.spec.seed, self.role, compute, settings, chosen)


def chosen_trials(trials: Sequence[PlannedTrial], metric: Metric, budgets: Sequence[float]) -> list[PlannedTrial]:
    """The best trial on dev of every method and budget, of those of the search."""
    chosen = []
    for name in dict.fromkeys(trial.method_spec.name for trial in trials):
        own = {t.number: t for t in trials if t.method_spec.name == name and t.role == "search"}
        errors = {number: trial.error(metric) for number, trial in own.items()}
        asked = {number: trial.asked_compute for number, trial in own.items()}
        chosen += [own[number] for number in frozen_choices(asked, errors, budgets)]
    return chosen


def method_entry(
    method_spec: MethodSpec, trials: Sequence[PlannedTrial], frozen: Sequence[PlannedTrial]
) -> MethodEntry:
    """How the index of the comparison names a method, with those of its trials that have finished.

    Args:
        method_spec: the method.
        trials: of all methods.
        frozen: those of them that are read on eval.
    """
    chosen = {id(trial) for trial in frozen}
    own = [trial for trial in trials if trial.method_spec is method_spec and trial.record is not None]
    entries = [trial.entry(chosen=id(trial) in chosen) for trial in own]
    return MethodEntry(method_spec.stage, method_spec.control, entries)
