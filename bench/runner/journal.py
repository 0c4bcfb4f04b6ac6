"""The journal file of an Optuna study: opened, and mended where a kill or a full disk has cut it off."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from bench.plugins.task import Direction
from bench.storage.files import write_whole

optuna.logging.set_verbosity(logging.WARNING)


def open_study(journal: Path, name: str, directions: Sequence[Direction], settings: set[str]) -> optuna.Study:
    """The study in a journal, a new one if there is none; every trial that was proposed has all its settings."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():
        _mend(journal)
    try:
        storage = _storage(journal)
    except (AssertionError, LookupError, TypeError, ValueError):  # every line can be read, but they make no study
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
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=_NoLock(str(journal))))


class _NoLock(JournalFileOpenLock):
    """The supervisor holds the whole results folder; a lock file of Optuna would outlive a kill, and cost 30 s then."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _mend(journal: Path) -> None:
    """Cut a journal off before the first line that cannot be read, as a power cut or a full disk may leave one.

    What is cut off is proposed again, exactly as before, and finished trials are known by their files. If it is more
    than the last line, the damaged file is kept beside the journal.
    """
    lines = journal.read_bytes().splitlines(keepends=True)
    whole = next((count for count, line in enumerate(lines) if not _readable(line)), len(lines))
    if whole < len(lines) - 1:
        journal.replace(journal.with_suffix(".damaged"))
    if whole < len(lines):
        write_whole(journal, b"".join(lines[:whole]))


def _forget_from(journal: Path, trial_id: int) -> None:
    """Cut a journal off where this trial began to be proposed: a sampler that goes on half-way draws other settings."""
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
