"""Where trials run: one fresh process each, on this machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from bench.errors import BenchError

#: called by a job with the fraction done and a word on how it goes
JobReport = Callable[[float, str], None]

ATTEMPTS = 3

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
    """

    key: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    needs: frozenset[str] = frozenset()
    attempts: int = field(default=0, compare=False)


class Lost(Exception):
    """The process of a job died without an answer."""


class Screen(Protocol):
    """What an executor tells while jobs run."""

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        """A job is this far."""

    def job_ended(self, job: Job) -> None:
        """A job is no longer running."""


class LocalExecutor:
    """Runs jobs in processes of this machine, ``workers`` at a time, in the order in which they were submitted.

    A process that dies takes its own job with it and nothing else; the job is tried ``ATTEMPTS`` times.

    Args:
        workers: processes at a time.
        screen: what is told while jobs run.
        preload: modules to import once, in the server that processes are forked from.
    """

    def __init__(self, workers: int, screen: Screen, preload: Sequence[str] = ()) -> None:
        self.workers, self.screen = workers, screen
        # One thread a process: processes share the cores already. The server that processes are forked from is
        # started with these, and with PyTorch loaded once for all of them.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*PRELOAD, *preload])
        self._waiting: list[Job] = []
        self._running: dict[Connection, tuple[Job, BaseProcess]] = {}
        self._done: set[str] = set()

    def submit(self, job: Job) -> None:
        """Run this job when its turn comes and what it needs is done."""
        self._waiting.append(job)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._running

    def next_finished(self) -> tuple[Job, Any]:
        """Wait until a job is done; its result, or a ``BenchError`` or ``Lost`` that says why there is none."""
        while not self.idle:
            self._start_what_can_run()
            for connection in wait(list(self._running)):
                assert isinstance(connection, Connection)
                finished = self._receive(connection)
                if finished is not None:
                    return finished
        raise BenchError("no job is under way")

    def close(self) -> None:
        """End all processes at once."""
        self._waiting.clear()
        for _, process in self._running.values():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, signal.SIGTERM)
            process.terminate()
        for _, process in self._running.values():
            process.join(timeout=5)
        self._running.clear()

    def _start_what_can_run(self) -> None:
        for job in list(self._waiting):
            if len(self._running) >= self.workers:
                return
            if job.needs <= self._done:
                self._waiting.remove(job)
                self._start(job)
        if self._waiting and not self._running:
            raise BenchError(f"nothing can run: {self._waiting[0].label} waits for a job that nobody submitted")

    def _start(self, job: Job) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(theirs, job.function, job.args))
        process.start()
        theirs.close()
        job.attempts += 1
        self._running[ours] = (job, process)
        self.screen.job_progress(job, 0.0, "")

    def _receive(self, connection: Connection) -> tuple[Job, Any] | None:
        job, process = self._running[connection]
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            kind, content = "lost", None
        if kind == "progress":
            self.screen.job_progress(job, *content)
            return None
        process.join()
        del self._running[connection]
        connection.close()
        self.screen.job_ended(job)
        if kind == "lost" and job.attempts < ATTEMPTS:
            self._waiting.insert(0, job)
            return None
        self._done.add(job.key)
        if kind == "lost":
            return job, Lost(f"its process died {ATTEMPTS} times (exit code {process.exitcode}); out of memory?")
        return job, content


def _work(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """In the process of a job: call the function, send progress and the result."""
    os.setsid()  # Ctrl-C is for the supervisor, which ends this process and whatever it started
    import torch

    torch.set_num_threads(1)

    def report(fraction: float, note: str) -> None:
        try:
            connection.send(("progress", (fraction, note)))
        except OSError:
            os._exit(1)  # the supervisor is gone

    try:
        result = function(*args, report=report)
    except BenchError as error:
        result = error
    except Exception as error:
        result = BenchError(f"{type(error).__name__}: {error}")
    with suppress(OSError):
        try:
            connection.send(("done", result))
        except Exception as error:
            connection.send(("done", BenchError(f"the result of the job cannot be sent: {error}")))
