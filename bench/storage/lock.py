"""One supervisor for each results folder."""

import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.storage.provenance import command_line

LOCK = ".lock"


@contextmanager
def sole_supervisor(results: Path) -> Iterator[None]:
    """Hold the results folder for as long as this lasts; the kernel releases it when the process dies, however it does.

    The whole folder is held, not one comparison: latency is timed with nothing else running, and all comparisons
    share one MLflow store. Reading (``bench report``, ``bench ui``) needs no lock. Between machines that share the
    folder, the lock holds where the file system supports ``flock``: NFS from version 4, or version 3 with its lock
    daemon.

    Raises:
        BenchError: another process, which the message names, holds the folder, or the file system has no locks.
    """
    path = results / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # a lock over NFS needs a writable file
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(
                f"the results folder {results} is in use by {_holder(path)}; "
                "wait until it has ended, stop it, or choose another folder with --results"
            ) from None
        except OSError as error:
            raise BenchError(
                f"the results folder {results} cannot be locked ({error.strerror}), so two comparisons could spoil "
                "each other's results; choose a folder on another file system with --results"
            ) from error
        myself = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": command_line(),
            "since": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(myself, indent=1).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # the file stays: removing it could take it away from the next holder


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}: {holder['command']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken the lock
        return "a process that has not yet written who it is"
