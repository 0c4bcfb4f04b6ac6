"""Which trials to run: one Optuna study a method, the same number of trials for every method that can be tuned."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from bench.method import Recipe, Tunable

Direction = Literal["minimize", "maximize"]

BATCH = 4  # trials proposed before any of them is told: whatever the number of processes, the proposals are the same

optuna.logging.set_verbosity(logging.WARNING)


@dataclass(frozen=True)
class Proposal:
    """Settings to try, under a number of the study."""

    number: int
    settings: Mapping[str, Any]


class MethodStudy:
    """The trials of one method: the budgets first, each with the defaults of everything else, then TPE.

    Two objectives: dev error, and compute (non-zero MACs as a fraction of the dense model's). The study is kept in a
    journal file, so that an interrupted search goes on where it was. A method without a tunable setting runs once.

    Args:
        recipe: the method.
        directions: of the two objectives.
        budgets: fractions of the dense compute to begin with.
        trials: how many trials in all.
        journal: file of the study.
        seed: of the sampler.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        directions: Sequence[Direction],
        budgets: Sequence[float],
        trials: int,
        journal: Path,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.space = {name: _distribution(tunable) for name, tunable in recipe.space().items()}
        first = [recipe.at_compute(b) for b in budgets] if recipe.reaches_compute else [recipe.defaults()]
        self.trials = max(trials, len(first)) if self.space else 1
        self._seed = seed
        self._outcomes: dict[int, tuple[float, float] | None] = {}
        self._proposed: list[Proposal] = []
        self._study = None
        if self.space:
            self._study = _open(journal, recipe.name, directions)
            for settings in first[len(self._study.trials) :]:  # none, unless it was interrupted in between
                self._study.enqueue_trial(settings)

    @property
    def finished(self) -> bool:
        """Whether every trial has been told."""
        return len(self._outcomes) == self.trials

    def proposals(self) -> list[Proposal]:
        """The next trials to run: none while some of the batch before are not told yet."""
        if self.finished or len(self._outcomes) < len(self._proposed):
            return []
        if self._study is None:
            batch = [Proposal(0, {})]
        else:
            start = len(self._proposed)
            batch = [self._ask(number) for number in range(start, min(start + BATCH, self.trials))]
        self._proposed += batch
        return batch

    def tell(self, number: int, objectives: tuple[float, float] | None) -> None:
        """The two objectives of a trial, or None for a failed one."""
        self._outcomes[number] = objectives
        if self._study is None or len(self._outcomes) < len(self._proposed):
            return
        for trial in self._study.get_trials():  # in their order, not in the order in which they finished
            if trial.state == TrialState.RUNNING and trial.number in self._outcomes:
                values = self._outcomes[trial.number]
                state = TrialState.FAIL if values is None else TrialState.COMPLETE
                self._study.tell(trial.number, values, state=state)

    def _ask(self, number: int) -> Proposal:
        assert self._study is not None
        known = self._study.get_trials(deepcopy=False)
        if number < len(known) and set(known[number].params) == set(self.space):  # from before an interruption
            return Proposal(number, dict(known[number].params))
        # a sampler of its own for each trial: what it draws does not depend on what this process drew before
        self._study.sampler = optuna.samplers.TPESampler(
            seed=self._seed + 1000 * number, multivariate=True, constant_liar=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # budgets of the user may lie outside the range of the search
            if number < len(known) and known[number].state == TrialState.RUNNING:  # interrupted while it was proposed
                trial = optuna.Trial(self._study, known[number]._trial_id)
                for name, distribution in self.space.items():
                    trial._suggest(name, distribution)
            else:
                trial = self._study.ask(fixed_distributions=self.space)
        return Proposal(trial.number, dict(trial.params))


def _open(journal: Path, name: str, directions: Sequence[Direction]) -> optuna.Study:
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():  # a line that was being written when the process was killed would make the file unreadable
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            journal.write_bytes(content[: content.rfind(b"\n") + 1])
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)


def _distribution(tunable: Tunable) -> BaseDistribution:
    if tunable.choices is not None:
        return CategoricalDistribution(tunable.choices)
    assert tunable.low is not None and tunable.high is not None
    if isinstance(tunable.low, int) and isinstance(tunable.high, int):
        return IntDistribution(tunable.low, tunable.high, log=tunable.log)
    return FloatDistribution(tunable.low, tunable.high, log=tunable.log)


def frozen_choices(
    asked: Mapping[int, float | None], errors: Mapping[int, float | None], budgets: Sequence[float]
) -> list[int]:
    """The trials of one method that are read on eval: for every budget the best on dev.

    A budget's candidates are the trials that asked for at most this compute and for more than the next smaller
    budget; above the largest budget there is one more such class. A method that takes no budget has one class.

    Args:
        asked: compute that each trial asked for, by trial number.
        errors: dev error of each trial, smaller is better; None for a failed one, which is chosen only if all failed.
        budgets: the budgets of the comparison.
    """
    edges = sorted({*budgets, 1.0})
    classes: dict[float, list[int]] = {}
    for number, compute in asked.items():
        edge = 1.0 if compute is None else next(e for e in edges if compute <= e * (1 + 1e-9))
        classes.setdefault(edge, []).append(number)

    def rank(number: int) -> tuple[bool, float, int]:
        error = errors[number]
        return (error is None, error or 0.0, number)

    return sorted(min(numbers, key=rank) for numbers in classes.values())
