"""Which trials to run, by one Optuna study for each method; what is read on eval, and what follows the search."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from bench.plugins.method import MethodSpec, Tunable
from bench.plugins.task import Direction, Metric
from bench.results.index import MethodEntry, Role, TrialEntry
from bench.results.selection import budget_class, frozen_choices
from bench.runner.journal import open_study
from bench.trial.record import TrialRecord
from bench.trial.setting import TrialSpec

BATCH = 4  # trials proposed before any of them is told, so that the proposals do not depend on the number of processes


@dataclass(frozen=True)
class Proposal:
    """Settings to try, with the number that the study gives them."""

    number: int
    settings: Mapping[str, Any]


class MethodStudy:
    """The trials of one method: the budgets first, each with the defaults of everything else, then TPE.

    Two objectives: dev error, and compute (non-zero MACs as a fraction of the dense model's). The study is kept in a
    journal file, so that an interrupted search goes on where it was. A method without a tunable setting runs once.

    Args:
        method_spec: the method.
        directions: whether each of the two objectives is to be low or high.
        budgets: fractions of the dense compute to begin with.
        trials: of a method that takes a budget; those beyond one for each budget tune it, and every other method has
            as many beyond its first.
        journal: file of the study.
    """

    def __init__(
        self,
        method_spec: MethodSpec,
        *,
        directions: Sequence[Direction],
        budgets: Sequence[float],
        trials: int,
        journal: Path,
    ) -> None:
        self.method_spec = method_spec
        self.space = {name: _distribution(tunable) for name, tunable in method_spec.space().items()}
        steered = [method_spec.at_compute(budget) for budget in budgets]
        first = steered if method_spec.reaches_compute else [method_spec.defaults()]
        tuned = bool(self.space) and not method_spec.is_front  # whose models are those of one training
        self.trials = len(first) + (max(0, trials - len(budgets)) if tuned else 0)
        self._common = method_spec.serving(budgets)
        self.tunes = self.trials > len(first)  # beyond the defaults
        self._outcomes: dict[int, tuple[float, float] | None] = {}
        self._proposed: list[Proposal] = []
        self._study = open_study(journal, method_spec.name, directions, set(self.space)) if self.space else None
        if self._study is not None:
            known = self._study.get_trials(deepcopy=False)  # from before an interruption
            self._told = {trial.number for trial in known if trial.state.is_finished()}
            self._known = {trial.number: dict(trial.params) for trial in known if trial.params}
            for settings in first[len(known) :]:  # none, unless it was interrupted in between
                self._study.enqueue_trial(settings)

    @property
    def finished(self) -> bool:
        return len(self._outcomes) == self.trials

    def proposals(self) -> list[Proposal]:
        """The next trials to run; none until the outcomes of all that were proposed before have been told."""
        if self.finished or len(self._outcomes) < len(self._proposed):
            return []
        if self._study is None:
            batch = [Proposal(0, {})]
        else:
            start = len(self._proposed)
            asked = [self._ask(number) for number in range(start, min(start + BATCH, self.trials))]
            batch = [Proposal(one.number, {**self._common, **one.settings}) for one in asked]
        self._proposed += batch
        return batch

    def tell(self, number: int, objectives: tuple[float, float] | None) -> None:
        """Take the two objectives of a trial, or None for a failed one; of those that it has not proposed, nothing."""
        if number >= self.trials:
            return
        self._outcomes[number] = objectives
        if self._study is None or len(self._outcomes) < len(self._proposed):
            return
        for proposal in self._proposed[-BATCH:]:  # in their order, not in the order in which they finished
            if proposal.number not in self._told:
                values = self._outcomes[proposal.number]
                state = TrialState.FAIL if values is None else TrialState.COMPLETE
                self._study.tell(proposal.number, values, state=state)
                self._told.add(proposal.number)

    def _ask(self, number: int) -> Proposal:
        assert self._study is not None
        if number in self._known:
            return Proposal(number, self._known[number])
        # each trial has its own sampler, so that what it draws does not depend on what this process drew before
        self._study.sampler = optuna.samplers.TPESampler(seed=1000 * number, multivariate=True, constant_liar=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # budgets that the user chose may lie outside the range of the search
            trial = self._study.ask(fixed_distributions=self.space)
        return Proposal(trial.number, dict(trial.params))


def _distribution(tunable: Tunable) -> BaseDistribution:
    if tunable.choices is not None:
        return CategoricalDistribution(tunable.choices)
    assert tunable.low is not None and tunable.high is not None
    if isinstance(tunable.low, int) and isinstance(tunable.high, int):
        return IntDistribution(tunable.low, tunable.high, log=tunable.log)
    return FloatDistribution(tunable.low, tunable.high, log=tunable.log)


@dataclass
class PlannedTrial:
    """A trial of a comparison."""

    method_spec: MethodSpec
    number: int  # in the study of the method; repeats with other seeds have the number of their trial
    spec: TrialSpec
    role: Role
    record: TrialRecord | None = None  # what came of it, once it has finished

    @cached_property
    def asked_compute(self) -> float | None:
        """The share of the dense compute that was asked for."""
        return self.method_spec.build(self.spec.settings).promised_budget

    @property
    def label(self) -> str:
        asked = "" if self.asked_compute is None else f" at {self.asked_compute:.3g}"
        return f"{self.method_spec.name}{asked}" + (f", seed {self.spec.seed}" if self.spec.seed else "")

    @property
    def has_model(self) -> bool:
        return self.record is not None and self.record.has_model

    @property
    def is_timed(self) -> bool:
        """Whether its latency says something: not that of bits that are simulated."""
        return self.record is not None and self.record.has_model and not self.record.simulated

    def error(self, metric: Metric) -> float | None:
        """What it is chosen by, small is good: its dev error, infinite for a missed budget; None without a model."""
        if self.record is None or (objectives := self.record.objectives(metric.column)) is None:
            return None
        sign = 1 if metric.direction == "minimize" else -1
        return math.inf if self.record.status == "missed" else sign * objectives[0]


def chosen_trials(trials: Sequence[PlannedTrial], metric: Metric, budgets: Sequence[float]) -> list[PlannedTrial]:
    """The best trial on dev of every method and budget, of those of the search."""
    chosen = []
    for name in dict.fromkeys(trial.method_spec.name for trial in trials):
        own = {t.number: t for t in trials if t.method_spec.name == name and t.role == "search"}
        errors = {number: trial.error(metric) for number, trial in own.items()}
        asked = {number: trial.asked_compute for number, trial in own.items()}
        chosen += [own[number] for number in frozen_choices(asked, errors, budgets)]
    return chosen


def carried_over(trials: Sequence[PlannedTrial], metric: Metric, budgets: Sequence[float]) -> list[PlannedTrial]:
    """For each method the tuned settings that gained most on dev over the defaults, at every budget.

    A search of few trials comes upon a better learning rate at a budget or two. Left there, it would make these points
    of a front better than their neighbours, and a camp better where it was lucky.

    Args:
        trials: of the search, finished: of each method the defaults first, one trial a budget.
        metric: that they are chosen by.
        budgets: of the comparison.
    """
    found = []
    for name in dict.fromkeys(trial.method_spec.name for trial in trials):
        own = [trial for trial in trials if trial.method_spec.name == name]
        if (best := _gained_most(own, metric, budgets)) is None:
            continue
        for number, budget in enumerate(budgets, len(own)):
            steered = best.method_spec.at_compute(budget).items()
            asked = {setting: share for setting, share in steered if setting.rpartition(".")[2] == "budget"}
            spec = replace(best.spec, settings={**best.spec.settings, **asked})
            found.append(PlannedTrial(best.method_spec, number, spec, "search"))
    return found


def _gained_most(own: Sequence[PlannedTrial], metric: Metric, budgets: Sequence[float]) -> PlannedTrial | None:
    """The tuned trial of a method that is best compared with the defaults at its budget; None if none is better."""
    if not own[0].method_spec.reaches_compute:
        return None
    classes = {trial.number: budget_class(trial.asked_compute, budgets) for trial in own}
    defaults = {classes[trial.number]: trial.error(metric) for trial in own if trial.number < len(budgets)}

    def gain(trial: PlannedTrial) -> float:
        place, error = classes[trial.number], trial.error(metric)
        if place not in defaults or error is None or math.isinf(error):
            return -math.inf
        default = defaults[place]
        return math.inf if default is None else default - error

    best = max((trial for trial in own if trial.number >= len(budgets)), key=gain, default=None)
    return best if best is not None and gain(best) > 0 else None


def failure(trials: Sequence[PlannedTrial]) -> str:
    """Why there is not one model, if some of these trials have failed; else an empty string."""
    failed = [trial.record.reason for trial in trials if trial.record and trial.record.status == "failed"]
    if not failed or any(trial.has_model for trial in trials):
        return ""
    return f"no trial came to a model, {len(failed)} failed; the first: {failed[0]}"


def method_entry(
    method_spec: MethodSpec, trials: Sequence[PlannedTrial], frozen: Sequence[PlannedTrial]
) -> MethodEntry:
    """How the index names a method, with those of all ``trials`` that are its and have finished, ``frozen`` chosen."""
    chosen = {id(trial) for trial in frozen}
    entries = []
    for trial in trials:
        if trial.method_spec is method_spec and trial.record is not None:
            spec, asked = trial.spec, trial.asked_compute
            settings, is_chosen = {**method_spec.fixed, **spec.settings}, id(trial) in chosen
            entries.append(TrialEntry(spec.key, trial.number, spec.seed, trial.role, asked, settings, is_chosen))
    return MethodEntry(method_spec.stage, method_spec.control, entries)


#: of a trial: how many channels its model has of each width group that lost some
Sizes = Callable[[PlannedTrial], Mapping[str, int]]


def followers(
    method_specs: Sequence[MethodSpec],
    frozen: Sequence[PlannedTrial],
    metric: Metric,
    budgets: Sequence[float],
    sizes: Sizes,
) -> list[PlannedTrial]:
    """For each control that follows and each budget, a trial for every seed of the best in-training method there.

    These can only be planned when the search has ended: they have widths that were found, without what found them.

    Args:
        method_specs: of the controls.
        frozen: the chosen trials of the search with their repeats.
        sizes: of the model of a trial; one whose channels are all there found no widths.
    """
    found = []
    for number, budget in enumerate(budgets):
        for source in _best(frozen, metric, budget, budgets, sizes):
            settings = {"budget": source.asked_compute, "widths": _written(sizes(source))}
            for method_spec in method_specs:
                spec = replace(source.spec, method=method_spec.name, settings=settings)
                found.append(PlannedTrial(method_spec, number, spec, "repeat"))
    return found


def _best(
    frozen: Sequence[PlannedTrial], metric: Metric, budget: float, budgets: Sequence[float], sizes: Sizes
) -> list[PlannedTrial]:
    """The trials, one a seed, of the in-training method that has the best mean on dev in this budget class."""
    groups: dict[tuple[str, int], list[PlannedTrial]] = {}
    for trial in frozen:
        spec = trial.method_spec
        if spec.stage == "in_training" and not spec.control and budget_class(trial.asked_compute, budgets) == budget:
            groups.setdefault((spec.name, trial.number), []).append(trial)
    finished = [own for own in groups.values() if all(trial.has_model and sizes(trial) for trial in own)]
    return min(finished, key=lambda own: fmean(trial.error(metric) or 0.0 for trial in own), default=[])


def _written(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sizes.items())
