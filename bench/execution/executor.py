"""What runs jobs: in the order in which they were submitted, each in a fresh process, on whatever machine."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bench.errors import BenchError, said
from bench.plugins.task import Progress

ATTEMPTS = 3


@dataclass
class Job:
    """A call to make in a process of its own: an importable function, with picklable ``*args`` and ``report=``."""

    key: str
    label: str  # on the screen
    function: Callable[..., Any]
    args: tuple[Any, ...]
    needs: frozenset[str] = frozenset()  # keys of jobs that must have ended before
    timed: bool = True  # whether the executor's time limit holds for it
    here: bool = False  # whether it must run on this machine, as one that measures its speed must
    attempts: int = 0
    deadline: float = math.inf  # of the running attempt, in seconds of the monotonic clock


class Lost(Exception):
    """The process of a job died without an answer, or was ended because it gave none in time."""


class JobObserver(Protocol):
    """Is told which fraction of a job is done, and when one has ended, in whatever way."""

    def job_progress(self, job: Job, fraction: float, note: str) -> None: ...
    def job_ended(self, job: Job) -> None: ...


class Executor(ABC):
    """Runs jobs in the order in which they were submitted, each once the jobs it needs have ended and there is room.

    Args:
        workers: processes that this machine has for other work, such as preparing data.
        observer: is told how jobs are going.
        timeout_s: seconds after which the process of a job is ended and the job is lost, without another attempt;
            None for never.
    """

    def __init__(self, workers: int, observer: JobObserver, timeout_s: float | None = None) -> None:
        self.workers, self.observer = workers, observer
        self.timeout_s = math.inf if timeout_s is None else timeout_s
        self._waiting: list[Job] = []
        self._running: dict[Any, Job] = {}  # by what ``_launch`` returned
        self._ended: set[str] = set()

    @property
    @abstractmethod
    def room(self) -> int:
        """How many jobs may run at a time."""

    @abstractmethod
    def wait(self) -> tuple[Job, Any] | None:
        """Wait for something to happen; the job that has ended, if one has, with its result or why there is none."""

    @abstractmethod
    def _launch(self, job: Job) -> Any:
        """Start a process for a job; what identifies it from now on."""

    @abstractmethod
    def _kill(self, handle: Any) -> None:
        """End the process of a job, if it has not ended yet, with all that it has started."""

    def submit(self, job: Job) -> None:
        """Run this job when its turn comes and the jobs it needs have ended."""
        self._ended.discard(job.key)  # what needs it waits for this one, not for an earlier one of the same key
        self._waiting.append(job)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._running

    def next_finished(self) -> tuple[Job, Any]:
        """Wait until a job has ended; its result, or a ``BenchError`` or ``Lost`` that says why there is none.

        It is a ``BenchError`` to wait while nothing runs, or while all that wait need jobs that nobody submitted.
        """
        while not self.idle:
            self._start_what_can_run()
            if (finished := self.wait()) is not None:
                self._ended.add(finished[0].key)
                return finished
        raise BenchError("no job is running")

    def run_alone(self, job: Job) -> Any:
        """The result of a job while there is no other one; a ``BenchError`` says why there is none."""
        self.submit(job)
        _, result = self.next_finished()
        if isinstance(result, (BenchError, Lost)):
            raise result if isinstance(result, BenchError) else BenchError(f"{job.label}: {result}")
        return result

    def close(self) -> None:
        """End all jobs at once, and start no more."""
        self._waiting.clear()
        for handle in list(self._running):
            self._end(handle)

    def _start_what_can_run(self) -> None:
        for job in list(self._waiting):
            if len(self._running) >= self.room:
                return
            if job.needs <= self._ended:
                self._waiting.remove(job)
                job.attempts += 1
                job.deadline = time.monotonic() + (self.timeout_s if job.timed else math.inf)
                self._running[self._launch(job)] = job
                self.observer.job_progress(job, 0.0, "")
        if self._waiting and not self._running:
            raise BenchError(f"nothing can run: {self._waiting[0].label} waits for a job that nobody submitted")

    def _end(self, handle: Any) -> Job:
        self._kill(handle)
        return self._forget(handle)

    def _forget(self, handle: Any) -> Job:
        job = self._running.pop(handle)
        self.observer.job_ended(job)
        return job

    def _end_overdue(self) -> tuple[Job, Lost] | None:
        for handle, job in self._running.items():
            if job.deadline <= time.monotonic():
                return self._end(handle), Lost(f"ended after {self.timeout_s:g} s, the limit of --trial-timeout")
        return None

    def _lost(self, job: Job, reason: str) -> tuple[Job, Lost] | None:
        """Try a job whose process died again, before all others; after ``ATTEMPTS`` attempts it is lost."""
        if job.attempts >= ATTEMPTS:
            return job, Lost(reason)
        self._waiting.insert(0, job)
        return None


def answer(function: Callable[..., Any], args: tuple[Any, ...], report: Progress) -> Any:
    """In the process of a job: what its function returns, or a ``BenchError`` for what it raises."""
    try:
        return function(*args, report=report)
    except BenchError as error:
        return error
    except MemoryError as error:
        more = "give it more, or run fewer trials at a time (--jobs; on Ray --cpus)"
        return BenchError(f"out of memory ({str(error) or 'MemoryError'}); {more}")
    except BaseException as error:  # sys.exit in a plugin included
        return BenchError(said(error))


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what a job has of one of its machines.

    The address is ``host:6379``, or ``auto`` for one that runs on this machine; None starts one of this machine alone,
    on the loopback interface.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0  # with a fraction of one, several trials share it
