"""Which trials to run: one Optuna study a method, kept in a journal that is mended when it is opened."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from bench.plugins.method import MethodSpec, Tunable
from bench.storage.files import write_whole

Direction = Literal["minimize", "maximize"]

optuna.logging.set_verbosity(logging.WARNING)


def open_study(journal: Path, name: str, directions: Sequence[Direction], settings: set[str]) -> optuna.Study:
    """The study in a journal, in which every trial that was proposed has all its settings.

    Args:
        journal: the file; it is made if there is none.
        name: of the study.
        directions: of its objectives.
        settings: the names of the settings that every trial has.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():
        _mend(journal)
    try:
        storage = _storage(journal)
    except (AssertionError, LookupError, TypeError, ValueError):  # every line is whole, but they make no study
        journal.replace(journal.with_suffix(".damaged"))
        storage = _storage(journal)
    if all(study.study_name != name for study in storage.get_all_studies()):
        return optuna.create_study(study_name=name, storage=storage, directions=list(directions))
    study = optuna.load_study(study_name=name, storage=storage)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if unfinished := [trial._trial_id for trial in running if set(trial.params) != settings]:
        _forget_from(journal, unfinished[0])
        return open_study(journal, name, directions, settings)
    return study


def _storage(journal: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=_HeldAlready(str(journal))))


class _HeldAlready(JournalFileOpenLock):
    """The supervisor holds the whole results folder; a lock file of Optuna would outlive a kill, and cost 30 s then."""

    def acquire(self) -> bool:
        """Nothing to wait for."""
        return True

    def release(self) -> None:
        """Nothing to let go of."""


def _mend(journal: Path) -> None:
    """Cut a journal back to what can be read: a line may be torn by a power cut or a full disk.

    What is cut off is proposed again, exactly as before, and finished trials are known by their files: nothing is
    trained again. If more than a last line is cut off, the damaged file is kept beside it.
    """
    lines = journal.read_bytes().splitlines(keepends=True)
    whole = next((count for count, line in enumerate(lines) if not _readable(line)), len(lines))
    if whole < len(lines) - 1:
        journal.replace(journal.with_suffix(".damaged"))
    if whole < len(lines):
        write_whole(journal, b"".join(lines[:whole]))


def _forget_from(journal: Path, trial_id: int) -> None:
    """Cut a journal back to where this trial began to be proposed: a sampler that went on from half draws otherwise."""
    lines = journal.read_bytes().splitlines(keepends=True)
    operations = [json.loads(line) for line in lines]
    own = next((i for i, done in enumerate(operations) if done.get("trial_id") == trial_id), len(lines))
    queued = own < len(lines) and operations[own]["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES
    write_whole(journal, b"".join(lines[: own if queued else own - 1]))  # its creation does not name it


def _readable(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


BATCH = 4  # trials proposed before any of them is told: whatever the number of processes, the proposals are the same


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
        method_spec: the method.
        directions: of the two objectives.
        budgets: fractions of the dense compute to begin with.
        trials: how many trials in all of a method that takes a budget; what it has beyond one for each budget, to tune
            with, every other method has beyond its first.
        journal: file of the study.
        seed: of the sampler.
    """

    def __init__(
        self,
        method_spec: MethodSpec,
        *,
        directions: Sequence[Direction],
        budgets: Sequence[float],
        trials: int,
        journal: Path,
        seed: int = 0,
    ) -> None:
        self.method_spec = method_spec
        self.space = {name: _distribution(tunable) for name, tunable in method_spec.space().items()}
        first = (
            [method_spec.at_compute(b) for b in budgets] if method_spec.reaches_compute else [method_spec.defaults()]
        )
        self.trials = len(first) + (max(0, trials - len(budgets)) if self.space else 0)
        self._seed = seed
        self._outcomes: dict[int, tuple[float, float] | None] = {}
        self._proposed: list[Proposal] = []
        self._study = None
        if self.space:
            self._study = open_study(journal, method_spec.name, directions, set(self.space))
            known = self._study.get_trials(deepcopy=False)  # from before an interruption
            self._told = {trial.number for trial in known if trial.state.is_finished()}
            self._known = {trial.number: dict(trial.params) for trial in known if trial.params}
            for settings in first[len(known) :]:  # none, unless it was interrupted in between
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
        # a sampler of its own for each trial: what it draws does not depend on what this process drew before
        self._study.sampler = optuna.samplers.TPESampler(
            seed=self._seed + 1000 * number, multivariate=True, constant_liar=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # budgets of the user may lie outside the range of the search
            trial = self._study.ask(fixed_distributions=self.space)
        return Proposal(trial.number, dict(trial.params))


def _distribution(tunable: Tunable) -> BaseDistribution:
    if tunable.choices is not None:
        return CategoricalDistribution(tunable.choices)
    assert tunable.low is not None and tunable.high is not None
    if isinstance(tunable.low, int) and isinstance(tunable.high, int):
        return IntDistribution(tunable.low, tunable.high, log=tunable.log)
    return FloatDistribution(tunable.low, tunable.high, log=tunable.log)
