"""Jobs in processes of this machine: the supervisor's side, and below it that of a job's own process."""

import fcntl
import math
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bench.errors import BenchError, said
from bench.execution.executor import ATTEMPTS, Executor, Job, JobObserver, answer

ENDING_SECONDS = 10.0  # that a process has to end once it has given its answer

#: what trials import sooner or later, seconds of work each: an optimiser torch._dynamo, narrower controls scipy.stats
PRELOAD = ("bench.trial.verify", "bench.trial.compress", "torch._dynamo", "onnxruntime.quantization", "scipy.stats")

LONGEST_FOLDER = 70  # bytes in the name of the temporary folder: those of a socket in it are at most 107

F_SETSIG = 10  # of linux/fcntl.h; Python has a name for it from 3.13 on


@dataclass(frozen=True, eq=False)
class _Process:
    process: BaseProcess
    connection: Connection
    lifeline: Connection  # nothing is sent on it; closed, it ends the process


class LocalExecutor(Executor):
    """Runs jobs in processes of this machine, ``workers`` at a time.

    A process that dies takes its own job with it and nothing else; the job is tried ``ATTEMPTS`` times. When this
    process dies, in whatever way, its jobs end themselves. Further modules to ``preload`` are imported once, in the
    server that processes are forked from.
    """

    def __init__(
        self, workers: int, observer: JobObserver, preload: Sequence[str] = (), timeout_s: float | None = None
    ) -> None:
        super().__init__(workers, observer, timeout_s)
        if len(os.fsencode(folder := tempfile.gettempdir())) > LONGEST_FOLDER:
            raise BenchError(f"the temporary folder {folder} is too long a path for sockets: set TMPDIR to another")
        # One thread for each process, as processes share the cores already. The server that processes are forked from
        # is started with these, and imports PyTorch once for all of them.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.execution.following", *PRELOAD, *preload])

    @property
    def room(self) -> int:
        return self.workers

    def wait(self) -> tuple[Job, Any] | None:
        handles = {handle.connection: handle for handle in self._running}
        first = min((job.deadline for job in self._running.values()), default=math.inf)
        ready = wait(list(handles), None if first == math.inf else max(0.0, first - time.monotonic()))
        for connection in ready:
            assert isinstance(connection, Connection)
            if (finished := self._receive(handles[connection])) is not None:
                return finished
        return None if ready else self._end_overdue()  # an answer that has come already counts

    def _launch(self, job: Job) -> _Process:
        ours, theirs = self._context.Pipe(duplex=False)
        their_lifeline, lifeline = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(theirs, their_lifeline, job.function, job.args))
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
        return _Process(process, ours, lifeline)

    def _receive(self, handle: _Process) -> tuple[Job, Any] | None:
        job = self._running[handle]
        try:
            kind, content = handle.connection.recv()
        except (EOFError, OSError):
            kind, content = "lost", None
        except Exception as error:  # an object of a plugin that cannot be rebuilt here
            kind, content = "done", BenchError(f"the result of the job cannot be read: {said(error)}")
        if kind == "progress":
            self.observer.job_progress(job, *content)
            return None
        handle.process.join(ENDING_SECONDS)
        self._end(handle)
        if kind == "done":
            return job, content
        code = handle.process.exitcode
        killed = ": killed, as the system does when memory runs out; give it more, or run with fewer --jobs"
        why = f"exit code {code}{killed if code == -signal.SIGKILL else ''}"
        return self._lost(job, f"its process died {ATTEMPTS} times ({why})")

    def _kill(self, handle: _Process) -> None:
        process = handle.process
        assert process.pid
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # it may be too young to lead a group
        process.join(ENDING_SECONDS)
        handle.lifeline.close()
        handle.connection.close()


def _work(connection: Connection, lifeline: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """In the process of a job: call the function, send progress and the result."""
    os.setsid()  # Ctrl-C is for the supervisor, which ends this process and all that it started
    _end_with_supervisor(lifeline)
    import torch

    torch.set_num_threads(1)

    def report(fraction: float, note: str) -> None:
        try:
            connection.send(("progress", (fraction, note)))
        except OSError:
            os._exit(1)  # the supervisor is gone

    result = answer(function, args, report)
    with suppress(OSError):
        try:
            connection.send(("done", result))
        except Exception as error:
            connection.send(("done", BenchError(f"the result of the job cannot be sent: {said(error)}")))


def _end_with_supervisor(lifeline: Connection) -> None:
    """End this process, and all that it has started, as soon as the supervisor has gone, in whatever way.

    The kernel does it, even in the middle of a computation: it sends SIGKILL to the process group when the other end of
    the pipe is closed. (``PR_SET_PDEATHSIG`` would wait for the server that forks, which waits for this process.)
    """
    handle = lifeline.fileno()
    fcntl.fcntl(handle, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(handle, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_ASYNC)
    if lifeline.poll():  # it has gone already: nothing is ever sent
        os.killpg(0, signal.SIGKILL)
