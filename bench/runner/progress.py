"""What a person sees while a comparison runs, and how often it is renewed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.execution.executor import Job
from bench.plugins.task import Metric
from bench.trial.record import TrialRecord


@dataclass
class Pace:
    """Keeps what is done again and again to a share of the time.

    Attributes:
        pause_s: seconds between two times, at least.
        share: of the time, at most, that is spent on it.
    """

    pause_s: float = 0.0
    share: float = 0.05
    _next: float = field(init=False)  # on the monotonic clock

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.pause_s

    @property
    def due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._next

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around what is done: sets when it may be done again."""
        started = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._next = ended + max(self.pause_s, (ended - started) * (1 / self.share - 1))


class Screen:
    """Progress on a terminal; on anything else a line for every finished trial.

    Args:
        console: where to write.
        metric: the task's metric.
    """

    def __init__(self, console: Console, metric: Metric) -> None:
        self.console, self.metric = console, metric
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._overall: TaskID | None = None
        self._done = self._total = 0
        self._jobs: dict[str, TaskID] = {}

    def __enter__(self) -> "Screen":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def expect(self, trials: int) -> None:
        """So many more trials are to come."""
        if self._overall is None:
            self.phase("trials", trials)
        else:
            self._total += trials
            self._show_count()

    def phase(self, name: str, items: int) -> None:
        """A new phase begins, of so many items."""
        if self._overall is not None:
            self._progress.remove_task(self._overall)
        self._done, self._total = 0, items
        self._overall = self._progress.add_task(f"[bold]{name}", total=items, note="", count="")
        self._show_count()
        if items and name != "trials" and not self.console.is_terminal:
            self.console.print(f"{name} …")

    def advance(self) -> None:
        """One item of the phase is done."""
        self._done += 1
        self._show_count()

    def _show_count(self) -> None:
        if self._overall is not None:
            count = f"{self._done}/{self._total}"
            self._progress.update(self._overall, completed=self._done, total=self._total, count=count)

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        """A job is this far."""
        if job.key not in self._jobs:
            self._jobs[job.key] = self._progress.add_task(f"  {job.label}", total=1.0, note=note, count="")
        self._progress.update(self._jobs[job.key], completed=fraction, note=note)

    def job_ended(self, job: Job) -> None:
        """A job is no longer running."""
        if job.key in self._jobs:
            self._progress.remove_task(self._jobs.pop(job.key))

    def preparing(self, fraction: float, note: str) -> None:
        """The data is made this far."""
        if "data" not in self._jobs:
            self._jobs["data"] = self._progress.add_task("[bold]data", total=100, note=note, count="")
            if not self.console.is_terminal:
                self.console.print(f"{note} …")
        self._progress.update(self._jobs["data"], completed=round(100 * fraction), note=note)

    def prepared(self) -> None:
        """The data is there."""
        if "data" in self._jobs:
            self._progress.remove_task(self._jobs.pop("data"))

    def trial_finished(self, label: str, record: TrialRecord) -> None:
        """Show the result of a trial."""
        self.advance()
        if record.status == "failed":
            self.console.print(f"[red]failed[/]  {label}: {record.reason}", highlight=False)
            return
        if (objectives := record.objectives(self.metric.column)) is None:
            self.console.print(f"[dim]does not apply  {label}: {record.reason}[/]", highlight=False)
            return
        score, compute = objectives
        note = f"  [red]{record.reason}[/]" if record.status == "missed" else ""
        self.console.print(
            f"{label:<40} dev {self.metric.name.upper()} {score:5.1f} {_unit(self.metric)}  compute {compute:.3f}"
            f"  {record.cpu_s:4.0f} s{note}",
            highlight=False,
            soft_wrap=True,
        )


def _unit(metric: Metric) -> str:
    return "%" if metric.unit == "percent" else metric.unit
