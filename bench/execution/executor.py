"""What runs trials: jobs in the order in which they were submitted, each in a fresh process, wherever that is."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.errors import BenchError

ATTEMPTS = 3


@dataclass
class Job:
    """A call to make in a process of its own.

    Attributes:
        key: names the job.
        label: names it for a person.
        function: an importable function; it is called with ``*args`` and ``report=``.
        args: picklable arguments.
        needs: keys of jobs that must be done before.
        timed: whether the executor's limit of time holds for it.
        here: whether it must run on this machine, as what measures its speed must, wherever others run.
    """

    key: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    needs: frozenset[str] = frozenset()
    timed: bool = True
    here: bool = False
    attempts: int = field(default=0, compare=False)


class Lost(Exception):
    """The process of a job died without an answer, or was ended because it gave none in time."""


class Screen(Protocol):
    """What an executor tells while jobs run."""

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        """A job is this far."""

    def job_ended(self, job: Job) -> None:
        """A job is no longer running."""


class Executor(ABC):
    """Runs jobs in the order in which they were submitted, each when what it needs is done and there is room.

    Args:
        workers: processes that this machine has for other work, such as preparing data.
        screen: what is told while jobs run.
        timeout_s: seconds after which the process of a job is ended and the job is lost, without another attempt;
            None for never.
    """

    def __init__(self, workers: int, screen: Screen, timeout_s: float | None = None) -> None:
        self.workers, self.screen = workers, screen
        self.timeout_s = math.inf if timeout_s is None else timeout_s
        self._waiting: list[Job] = []
        self._done: set[str] = set()

    @property
    @abstractmethod
    def under_way(self) -> int:
        """Jobs that run now."""

    @property
    @abstractmethod
    def room(self) -> int:
        """Jobs that may run at a time."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start a job, which is one attempt more."""

    @abstractmethod
    def wait(self) -> tuple[Job, Any] | None:
        """Wait for something to happen; a job with its result, if one is done, or lost for good."""

    @abstractmethod
    def close(self) -> None:
        """End all jobs at once."""

    def submit(self, job: Job) -> None:
        """Run this job when its turn comes and what it needs is done."""
        self._waiting.append(job)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self.under_way

    def next_finished(self) -> tuple[Job, Any]:
        """Wait until a job is done; its result, or a ``BenchError`` or ``Lost`` that says why there is none."""
        while not self.idle:
            self._start_what_can_run()
            if (finished := self.wait()) is not None:
                self._done.add(finished[0].key)
                return finished
        raise BenchError("no job is under way")

    def again(self, job: Job) -> None:
        """Try a job once more, before all others."""
        self._waiting.insert(0, job)

    def forget_waiting(self) -> None:
        """Start nothing more."""
        self._waiting.clear()

    def deadline(self, job: Job) -> float:
        """When a job that starts now is overdue, on the monotonic clock in seconds."""
        return time.monotonic() + (self.timeout_s if job.timed else math.inf)

    def overdue(self, job: Job) -> tuple[Job, Lost]:
        """What is answered for a job that was ended because it took too long."""
        return job, Lost(f"ended after {self.timeout_s:g} s, the limit of --trial-timeout")

    def _start_what_can_run(self) -> None:
        for job in list(self._waiting):
            if self.under_way >= self.room:
                return
            if job.needs <= self._done:
                self._waiting.remove(job)
                self.start(job)
        if self._waiting and not self.under_way:
            raise BenchError(f"nothing can run: {self._waiting[0].label} waits for a job that nobody submitted")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what a job has of one of its machines.

    Attributes:
        address: ``host:6379``, or ``auto`` for one that runs on this machine; None starts one of this machine alone, on
            the loopback interface.
        cpus: cores.
        gpus: graphics processors; a part of one lets several trials share it.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
