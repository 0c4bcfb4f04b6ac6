"""What happens in the process of a job: call the function, send progress and the result, outlive nobody."""

import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from bench.errors import BenchError

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
