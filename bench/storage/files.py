"""Files that are there whole or not at all, whatever happens to the process; and one writer to a results folder."""

import datetime
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.storage.provenance import command_line

LOCK = ".lock"  # in the results folder


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as ``write_whole`` does."""
    write_whole(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole, after a power cut too, or as it was before, with an ``OSError``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        flush(draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    flush(path.parent)  # a rename that is not on disk is undone by a power cut, and a finished trial with it


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if it is not there, damaged or something else."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def sole_supervisor(results: Path) -> Iterator[None]:
    """Hold the results folder for as long as this lasts; the kernel releases it when the process dies, however it does.

    The whole folder is held, not one comparison: latency is timed with nothing else running, and all comparisons
    share one MLflow store. Reading (``bench report``, ``bench ui``) needs no lock. Between machines that share the
    folder, the lock holds where the file system supports ``flock``: NFS from version 4, or version 3 with its lock
    daemon.

    Raises:
        BenchError: there is no such folder, another process, which the message names, holds it, or the file system has
            no locks.
    """
    path = results / LOCK
    if not results.is_dir():
        raise BenchError(f"there is no results folder {results}; name another one with --results")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # a lock over NFS needs a writable file
    try:
        _lock(handle, path)
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        myself = {"pid": os.getpid(), "host": socket.gethostname(), "command": command_line(), "since": since}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(myself, indent=1).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # the file stays: removing it could take it away from the next holder


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            holder = "process {pid} on {host} since {since}: {command}".format_map(read_json(path) or {})
        except (KeyError, TypeError):
            holder = "a process that has not yet written who it is"  # it has only just taken the lock
        raise BenchError(
            f"the results folder {path.parent} is in use by {holder}; "
            "wait until it has ended, stop it, or choose another folder with --results"
        ) from None
    except OSError as error:
        raise BenchError(
            f"the results folder {path.parent} cannot be locked ({error.strerror}), so two comparisons could spoil "
            "each other's results; choose a folder on another file system with --results"
        ) from error
