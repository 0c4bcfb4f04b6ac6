"""One supervisor to a results folder."""

import datetime
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import BenchError

LOCK = ".lock"


@contextmanager
def sole_supervisor(results: Path) -> Iterator[None]:
    """Hold the results folder for as long as this lasts; the kernel lets go of it when the process dies, however.

    The whole folder is held, not one comparison: latency is timed with nothing else running, and all comparisons
    share one store of MLflow. Reading (``bench report``, ``bench ui``) needs no lock. On a folder that several machines
    share, the lock holds as far as the file system carries ``flock`` between them: NFS from version 4 on does,
    and version 3 with its lock daemon.

    Raises:
        BenchError: another process holds it, which the message names, or the file system knows no locks.
    """
    path = results / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # a lock over NFS needs a writable file
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(_held(results, path)) from None
        except OSError as error:
            raise BenchError(
                f"the results folder {results} cannot be locked ({error.strerror}), so that two runs could spoil each "
                "other's results; choose a folder on another file system with --results"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_myself(), indent=1).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # the file stays: to remove it could take it away from under the next holder


def _myself() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(["bench", *sys.argv[1:]]),
        "since": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }


def _held(results: Path, path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}: {holder['command']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken the lock
        who = "a process that has not said yet which it is"
    return (
        f"the results folder {results} is in use by {who}; "
        "wait until it has ended, stop it, or choose another folder with --results"
    )
