"""What thousands of finished trials of one study cost: `make perf` prints it last, for one thousand. It is no test.

The trials are copies of one that was trained, with scores and compute that are drawn: made for their number, no result.
What is measured on them is real: the command, the journal of the study, the index, the report, the tracking store.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.execution.executor import Executor, Job
from bench.runner.comparison import Comparison
from bench.runner.progress import Screen
from bench.runner.request import Request
from bench.trial.record import TRAINED, TrialFolder, TrialRecord
from bench.trial.setting import TrialSpec
from tests.perf_runs import adopt, cpu_s

TASK, PRESET, METHOD = "synthetic", "smoke", "magnitude_pruning"
FOLDER = Path(TASK, PRESET)


class Copies(Executor):
    """Does nothing but copy the files of a trial, with scores of its own; jobs that are no trials are run."""

    def __init__(self, trial: Path) -> None:
        super().__init__(1, mock.Mock())
        self.trial, self.random = trial, random.Random(0)

    room = 1

    def _launch(self, job: Job) -> str:
        return job.key

    def _kill(self, handle: str) -> None:
        pass

    def wait(self) -> tuple[Job, Any]:
        job = self._forget(next(iter(self._running)))
        if job.function.__name__ == "train":
            shutil.copytree(
                self.trial,
                job.args[1].path,
                ignore=shutil.ignore_patterns("trial.json", "tracked.json", "eval*", "lat*"),
            )
            (job.args[1].path / TRAINED).write_text("{}")
            return job, None
        if job.function.__name__ == "audit":
            return job, self._record(*job.args)
        return job, job.function(*job.args, report=lambda fraction, note: None)

    def _record(self, spec: TrialSpec, folder: TrialFolder) -> TrialRecord:
        record = TrialFolder(self.trial).record()
        assert record is not None and record.dense_macs is not None and record.dev is not None
        share = self.random.randint(1, 64) / 64  # as widths have it
        record.settings, record.macs_ratio = dict(spec.settings), share
        record.effective_macs = round(share * record.dense_macs)
        record.dev = {name: self.random.uniform(1, 50) for name in record.dev}
        folder.write(record)
        return record


def make(results: Path, trials: int) -> None:
    """A study of so many trials, told and indexed, with one trial of it trained."""
    run(results, "--trials", "1")
    (one,) = (results / FOLDER / "trials").iterdir()
    for path in (results / FOLDER / "studies").iterdir():
        path.unlink()
    request = Request(TASK, PRESET, (METHOD,), results, 1, None, budgets=(0.5,), trials=trials)
    screen = mock.Mock(spec=Screen)
    kept = shutil.copytree(one, results / "one")
    comparison = Comparison(request, Copies(kept), screen)
    screen.trial_finished = Bar(trials)
    with (
        mock.patch("optuna.samplers.TPESampler", lambda seed=0, **_: optuna.samplers.RandomSampler(seed)),
        mock.patch("os.fsync"),
        mock.patch.object(Comparison, "write_index"),
        mock.patch.object(Comparison, "sync"),
        mock.patch.object(Comparison, "_check_methods"),
    ):
        comparison.prepare()
        comparison.search()


class Bar:
    """A bar that goes on with every trial."""

    def __init__(self, trials: int) -> None:
        self.steps = iter(track(range(trials), f"{trials} trials"))

    def __call__(self, label: str, record: TrialRecord) -> None:
        next(self.steps, None)


def run(results: Path, *options: str) -> tuple[float, float]:
    """CPU and wall-clock seconds of `bench run`."""
    command = ("run", TASK, "--preset", PRESET, "--methods", METHOD, "--budgets", "0.5", "--jobs", "1", *options)
    start = time.monotonic()
    return cpu_s(["-m", "bench", *command, "--results", str(results)]), time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--trials", type=int, default=10_000, help="fifteen minutes for ten thousand, most of them for MLflow"
    )
    trials = parser.parse_args().trials
    adopt()
    table = Table(title=f"a study of {trials} finished trials")
    for column in ("what", "CPU s", "wall s", "aim"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        make(results, trials)
        rows = [
            ("eval, latency, report, and all trials logged to MLflow", ""),
            ("the same command again: start-up and report", "<= 30"),
        ]
        for what, aim in rows:
            cpu, wall = run(results, "--trials", str(trials))
            table.add_row(what, f"{cpu:.1f}", f"{wall:.1f}", aim)
    Console().print(table)


if __name__ == "__main__":
    main()
