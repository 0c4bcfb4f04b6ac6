"""What a person sees while a comparison runs, and how often it is renewed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from bench.execution.executor import Job
from bench.plugins.task import Metric
from bench.trial.record import TrialRecord
from bench.widths import IN_WORDS


@dataclass
class Pace:
    """Keeps what is done again and again to a share of the time."""

    pause_s: float = 0.0  # between two times, at least
    share: float = 0.05  # of the time, at most, that is spent on it
    _next: float = field(init=False)  # on the monotonic clock

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.pause_s

    @property
    def due(self) -> bool:
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


PAUSE_S = 10.0  # between two lines that say how far something is, where there is no terminal
SILENCE_S = 60.0  # after which a job says how far it is, where there is no terminal; a finished trial has its own line
TELLING = 0.02  # share that must be done before the rest is estimated: processes take their time to start


class Screen:
    """Progress on a terminal; on anything else a line for every finished trial, and now and then how far the rest is.

    Args:
        console: where to write.
        metric: of the task.
        clock: the time in seconds.
    """

    def __init__(self, console: Console, metric: Metric, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.metric, self.clock = console, metric, clock
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._overall = self._progress.add_task("", visible=False, note="", count="")
        self._done = self._total = 0
        self._phase = ""
        self._jobs: dict[str, TaskID] = {}
        #: when, the share done then, and the share done last, where there is no terminal
        self._begun: dict[str, tuple[float, float, float]] = {}
        self._said = clock()

    def __enter__(self) -> "Screen":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the bars."""
        self.console.print(Text(text, style), soft_wrap=True)
        self._said = self.clock()

    def expect(self, trials: int) -> None:
        if self._phase == "trials":
            self._total += trials
            self._show_count()
        else:
            self.phase("trials", trials)

    def phase(self, name: str, items: int) -> None:
        self._phase, self._done, self._total = name, 0, items
        self._progress.reset(self._overall, description=name, visible=True)
        self._show_count()
        if items and name != "trials" and not self.console.is_terminal:
            self.say(f"{name} …")
            self._begun[""] = (self.clock(), 0.0, 0.0)

    def advance(self) -> None:
        self._done += 1
        self._show_count()
        if self._phase != "trials" and self._done < self._total:
            self._say_how_far("", self._phase, self._done / self._total, PAUSE_S)

    def _show_count(self) -> None:
        count = f"{self._done}/{self._total}"
        self._progress.update(self._overall, completed=self._done, total=self._total, count=count)

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        self._show(job.key, f"  {job.label}", fraction, note)
        self._say_how_far(job.key, job.label, fraction, SILENCE_S)

    def job_ended(self, job: Job) -> None:
        self._end(job.key)

    def preparing(self, fraction: float, note: str) -> None:
        """The data is made to this fraction."""
        if "data" not in self._jobs and not self.console.is_terminal:
            self.say(f"{note} …")
        self._show("data", "data", fraction, note)
        self._say_how_far("data", note, fraction, PAUSE_S)

    def prepared(self) -> None:
        self._end("data")

    def _show(self, key: str, description: str, fraction: float, note: str) -> None:
        if key not in self._jobs:
            self._jobs[key] = self._progress.add_task(description, total=1.0, note=note, count="")
        self._progress.update(self._jobs[key], completed=fraction, note=note)

    def _end(self, key: str) -> None:
        if key in self._jobs:
            self._progress.remove_task(self._jobs.pop(key))
        self._begun.pop(key, None)

    def trial_finished(self, label: str, record: TrialRecord) -> None:
        self.advance()
        self._said = self.clock()
        objectives = record.objectives(self.metric.column)
        if record.status == "failed":
            self.console.print(Text(f"failed  {label}: {record.reason}", "red"))
        elif objectives is None:
            self.console.print(Text(f"does not apply  {label}: {record.reason}", "dim"))
        else:
            unit = "%" if self.metric.unit == "percent" else self.metric.unit
            cost = f"{IN_WORDS[record.cost or 'macs']} {objectives[1]:.3f}"
            done = f"dev {self.metric.title} {objectives[0]:5.1f} {unit}  {cost}  {record.cpu_s:4.0f} s"
            note = f"  {record.reason}" if record.status == "missed" else ""
            self.console.print(Text.assemble(f"{label:<40} {done}", (note, "red")), soft_wrap=True)

    def _say_how_far(self, key: str, name: str, fraction: float, pause_s: float) -> None:
        """Where there is no terminal: a line with the share done and the time left, if none came for ``pause_s``."""
        if self.console.is_terminal:
            return
        now = self.clock()
        begun, before, last = self._begun.get(key, (now, fraction, fraction))
        if fraction < last:  # a part of it is done once more, such as timings that were disturbed
            begun, before = now, fraction
        self._begun[key] = begun, before, fraction
        if now - self._said < pause_s or fraction >= 1:
            return
        left, done = "", fraction - before
        if done >= TELLING:
            left = f", about {_duration((now - begun) * (1 - fraction) / done)} left"
        self.say(f"{name}: {100 * fraction:.0f} %{left}")


def _duration(seconds: float) -> str:
    """In tens of seconds, minutes, or hours."""
    if seconds < 55:
        return f"{max(1, round(seconds / 10)) * 10} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
