"""The trials of a comparison: those that are chosen on dev, and those that can be planned only then."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from bench.plugins.method import RATE, MethodSpec
from bench.plugins.task import Metric
from bench.results.index import MethodEntry, Role, TrialEntry
from bench.results.selection import budget_class, frozen_choices
from bench.runner.study import budgets_of
from bench.trial.record import TrialRecord
from bench.trial.setting import TrialSpec


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
    def tuned(self) -> str:
        """The settings that are not the defaults: ``, rounds=2, learning_rate_factor=2.5``."""
        defaults, settings = self.method_spec.defaults(), self.spec.settings
        others = {n: v for n, v in settings.items() if v != defaults.get(n, v) and not n.endswith("budget")}
        return "".join(
            f", {name}={value:.3g}" if isinstance(value, float) else f", {name}={value}"
            for name, value in others.items()
        )

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
    """The best trial on dev of every method and budget, of those of the search.

    Where there were second looks, it is the one of these that has the best mean.
    """
    chosen = []
    for name in dict.fromkeys(trial.method_spec.name for trial in trials):
        own = {t.number: t for t in trials if t.method_spec.name == name and t.role == "search"}
        looks = {t.number: t for t in trials if t.method_spec.name == name and t.role == "look"}
        decided = {budget_class(look.asked_compute, budgets) for look in looks.values()}
        left = [n for n, t in own.items() if n in looks or budget_class(t.asked_compute, budgets) not in decided]
        errors = {n: _mean([own[n].error(metric), *([looks[n].error(metric)] if n in looks else [])]) for n in left}
        asked = {number: own[number].asked_compute for number in left}
        chosen += [own[number] for number in frozen_choices(asked, errors, budgets)]
    return chosen


def _mean(errors: Sequence[float | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return fmean(known) if len(known) == len(errors) else None


def second_looks(trials: Sequence[PlannedTrial], metric: Metric, budgets: Sequence[float]) -> list[PlannedTrial]:
    """Where tuned settings are better than the defaults with the seed of the search: both of them with another seed.

    The best of several settings with one seed is in part the luckiest; with the other seeds it may be worse than the
    defaults.
    """
    looks = []
    for best in chosen_trials(trials, metric, budgets):
        place = budget_class(best.asked_compute, budgets)
        own = [t for t in trials if t.method_spec.name == best.method_spec.name and t.role == "search"]
        first = min((t for t in own if budget_class(t.asked_compute, budgets) == place), key=lambda t: t.number)
        if first is not best and first.has_model:
            looks += [PlannedTrial(t.method_spec, t.number, replace(t.spec, seed=1), "look") for t in (first, best)]
    return looks


def repeats(chosen: Sequence[PlannedTrial], trials: Sequence[PlannedTrial], seeds: int) -> list[PlannedTrial]:
    """The chosen points with the other seeds, those first that took longest: begun last, they would run alone.

    A second look at a chosen point, of all ``trials``, is its repeat from now on.
    """
    again = [t for t in chosen if t.record is None or t.record.status != "declined"]  # as other seeds would be
    again.sort(key=lambda t: (t.record and t.record.cpu_s) or 0.0, reverse=True)
    found = []
    for trial in again:
        same = (look for look in trials if look.role == "look" and look.spec == replace(trial.spec, seed=1))
        if (look := next(same, None)) is not None:
            look.role = "repeat"
        others = range(1 if look is None else 2, seeds)
        found += [PlannedTrial(trial.method_spec, trial.number, replace(trial.spec, seed=n), "repeat") for n in others]
    return found


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
            spec = replace(best.spec, settings={**best.spec.settings, **budgets_of(best.method_spec, budget)})
            if spec != best.spec:
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
    Their learning rate is the one that was best for the control of the same size that is trained from scratch, too.

    Args:
        method_specs: of the controls.
        frozen: the chosen trials of the search with their repeats.
        sizes: of the model of a trial; one whose channels are all there found no widths.
    """
    found = []
    for number, budget in enumerate(budgets):
        here = [trial for trial in frozen if budget_class(trial.asked_compute, budgets) == budget]
        scratch = _best([trial for trial in here if trial.method_spec.control], metric, sizes)
        rate = {name: value for trial in scratch for name, value in trial.spec.settings.items() if name == RATE}
        for source in _best([trial for trial in here if not trial.method_spec.control], metric, sizes):
            settings = {"budget": source.asked_compute, "widths": _written(sizes(source)), **rate}
            for method_spec in method_specs:
                spec = replace(source.spec, method=method_spec.name, settings=settings)
                found.append(PlannedTrial(method_spec, number, spec, "repeat"))
    return found


def _best(trials: Sequence[PlannedTrial], metric: Metric, sizes: Sizes) -> list[PlannedTrial]:
    """Of these, the trials, one a seed, of the in-training method that has the best mean on dev."""
    groups: dict[tuple[str, int], list[PlannedTrial]] = {}
    for trial in trials:
        if trial.method_spec.stage == "in_training":
            groups.setdefault((trial.method_spec.name, trial.number), []).append(trial)
    finished = [own for own in groups.values() if all(trial.has_model and sizes(trial) for trial in own)]
    return min(finished, key=lambda own: fmean(trial.error(metric) or 0.0 for trial in own), default=[])


def _written(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sizes.items())
