"""Where trials run: one fresh process each, on this machine."""

import math
import multiprocessing
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from bench.errors import BenchError
from bench.worker import work

ATTEMPTS = 3
ENDING_SECONDS = 10.0  # that a process has for ending once it has given its answer

#: what every trial imports sooner or later, seconds of work each; an optimiser alone imports torch._dynamo
PRELOAD = ("bench.trial", "torch._dynamo", "onnxruntime.quantization")


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
    """

    key: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    needs: frozenset[str] = frozenset()
    timed: bool = True
    attempts: int = field(default=0, compare=False)


class Lost(Exception):
    """The process of a job died without an answer, or was ended because it gave none in time."""


@dataclass(frozen=True)
class _Attempt:
    """A job under way."""

    job: Job
    process: BaseProcess
    lifeline: Connection  # nothing is sent on it; closed, it ends the process
    deadline: float  # on the monotonic clock, seconds


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


class LocalExecutor(Executor):
    """Runs jobs in processes of this machine, ``workers`` at a time.

    A process that dies takes its own job with it and nothing else; the job is tried ``ATTEMPTS`` times. When this
    process dies, however it does, its jobs end themselves.

    Args:
        workers: processes at a time.
        screen: what is told while jobs run.
        preload: modules to import once, in the server that processes are forked from.
        timeout_s: see ``Executor``.
    """

    def __init__(
        self, workers: int, screen: Screen, preload: Sequence[str] = (), timeout_s: float | None = None
    ) -> None:
        super().__init__(workers, screen, timeout_s)
        # One thread a process: processes share the cores already. The server that processes are forked from is
        # started with these, and with PyTorch loaded once for all of them.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.following", *PRELOAD, *preload])
        self._running: dict[Connection, _Attempt] = {}

    @property
    def under_way(self) -> int:
        """Processes of jobs."""
        return len(self._running)

    @property
    def room(self) -> int:
        """Processes at a time."""
        return self.workers

    def wait(self) -> tuple[Job, Any] | None:
        """Wait until a process says something, dies, or is overdue."""
        for connection in wait(list(self._running), self._patience()):
            assert isinstance(connection, Connection)
            if (finished := self._receive(connection)) is not None:
                return finished
        for connection, attempt in self._running.items():
            if attempt.deadline <= time.monotonic() and not connection.poll():
                self._end(connection)
                return self.overdue(attempt.job)
        return None

    def close(self) -> None:
        """End all processes at once."""
        self.forget_waiting()
        for connection in list(self._running):
            self._end(connection)

    def _patience(self) -> float | None:
        """Seconds until the first job under way is overdue."""
        first = min((attempt.deadline for attempt in self._running.values()), default=math.inf)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def start(self, job: Job) -> None:
        """Start a process for a job."""
        ours, theirs = self._context.Pipe(duplex=False)
        their_lifeline, lifeline = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(theirs, their_lifeline, job.function, job.args))
        for patience_s in (0.1, 1.0):
            try:
                process.start()
                break
            except (OSError, EOFError):  # the server that forks was killed; a little later another one is started
                time.sleep(patience_s)
        else:
            process.start()
        theirs.close()
        their_lifeline.close()
        job.attempts += 1
        self._running[ours] = _Attempt(job, process, lifeline, self.deadline(job))
        self.screen.job_progress(job, 0.0, "")

    def _receive(self, connection: Connection) -> tuple[Job, Any] | None:
        attempt = self._running[connection]
        job = attempt.job
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            kind, content = "lost", None
        except Exception as error:  # an object of a plugin that cannot be rebuilt here
            kind, content = "done", BenchError(f"the result of the job cannot be read: {error!r}")
        if kind == "progress":
            self.screen.job_progress(job, *content)
            return None
        self._end(connection, ENDING_SECONDS)
        if kind == "lost" and job.attempts < ATTEMPTS:
            self.again(job)
            return None
        return job, Lost(_cause(attempt.process.exitcode)) if kind == "lost" else content

    def _end(self, connection: Connection, patience_s: float = 0.0) -> None:
        """The attempt on this connection is over: end its process, and whatever that has started."""
        attempt = self._running.pop(connection)
        process = attempt.process
        process.join(patience_s)
        assert process.pid
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # it may be too young to lead a group
        process.join(ENDING_SECONDS)
        attempt.lifeline.close()
        connection.close()
        self.screen.job_ended(attempt.job)


def _cause(exit_code: int | None) -> str:
    """Why a process died, as far as its exit code tells."""
    killed = ": killed, as the system does when memory runs out; give it more, or run with fewer --jobs"
    return f"its process died {ATTEMPTS} times (exit code {exit_code}{killed if exit_code == -signal.SIGKILL else ''})"
