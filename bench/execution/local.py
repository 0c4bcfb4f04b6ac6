"""Where trials run: one fresh process each, on this machine."""

import fcntl
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bench.errors import BenchError
from bench.execution.executor import ATTEMPTS, Executor, Job, Lost, Screen

#: called by a job with the fraction done and a word on how it goes
JobReport = Callable[[float, str], None]

F_SETSIG = 10  # of linux/fcntl.h; Python has a name for it from 3.13 on


def work(connection: Connection, lifeline: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """In the process of a job: call the function, send progress and the result.

    Args:
        connection: to send to.
        lifeline: nothing is sent here; its other end is open for as long as the supervisor lives.
        function: of the job.
        args: likewise; it is called with ``report=`` besides.
    """
    os.setsid()  # Ctrl-C is for the supervisor, which ends this process and whatever it started
    _end_with_supervisor(lifeline)
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
    except MemoryError as error:
        result = BenchError(f"out of memory ({error or 'MemoryError'}); give it more, or run with fewer --jobs")
    except Exception as error:
        result = BenchError(f"{type(error).__name__}: {error}")
    with suppress(OSError):
        try:
            connection.send(("done", result))
        except Exception as error:
            connection.send(("done", BenchError(f"the result of the job cannot be sent: {error}")))


def _end_with_supervisor(lifeline: Connection) -> None:
    """End this process, and whatever it has started, at the moment when the supervisor has gone, however it went.

    The kernel does it: it sends SIGKILL to the process group when the other end of the pipe is closed, whatever is
    being computed here. (``PR_SET_PDEATHSIG`` would wait for the server that forks, which waits for this process.)
    """
    handle = lifeline.fileno()
    fcntl.fcntl(handle, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(handle, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_ASYNC)
    if lifeline.poll():  # it has gone already: nothing is ever sent
        os.killpg(0, signal.SIGKILL)


ENDING_SECONDS = 10.0  # that a process has for ending once it has given its answer

#: what every trial imports sooner or later, seconds of work each; an optimiser alone imports torch._dynamo
PRELOAD = ("bench.trial.verify", "bench.trial.compress", "torch._dynamo", "onnxruntime.quantization")


@dataclass(frozen=True)
class _Attempt:
    """A job under way."""

    job: Job
    process: BaseProcess
    lifeline: Connection  # nothing is sent on it; closed, it ends the process
    deadline: float  # on the monotonic clock, seconds


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
        self._context.set_forkserver_preload(["bench.execution.following", *PRELOAD, *preload])
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
