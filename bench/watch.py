"""Which files and processes a method may touch while it has the floor: none of the data, none of the results."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import MethodError
from bench.task import Batch

_STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod")


class _Watch:
    """Says no while it has folders to watch; Python keeps an audit hook for as long as the process lives."""

    def __init__(self) -> None:
        self.hooked = False
        self.roots: tuple[str, ...] = ()
        self.reading = False

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An event of the interpreter, before it happens.

        Raises:
            MethodError: it is none that a method may cause.
        """
        if not self.roots or self.reading:
            return
        if event in _STARTING:
            raise MethodError(f"the method starts a process of its own ({event}), which nobody would account for")
        if event == "open" or event in _CHANGING:
            for path in arguments[:2]:
                if isinstance(path, (str, bytes, os.PathLike)) and self._watched(os.fsdecode(path)):
                    raise MethodError(
                        f"the method touches {os.fsdecode(path)} while it trains: prepared data, held-out data and "
                        "results are not for methods; trainer.batches() and trainer.loss() are"
                    )

    def _watched(self, path: str) -> bool:
        return f"{os.path.realpath(path)}{os.sep}".startswith(self.roots)


_watch = _Watch()


@contextmanager
def watching(roots: Sequence[Path]) -> Iterator[None]:
    """While this lasts, files in these folders are opened for training batches alone, and no process is started.

    Python code is seen; a library in C that opens a file by its name is not.

    Raises:
        MethodError: from whatever tried it.
    """
    if not _watch.hooked:
        sys.addaudithook(_watch.seen)
        _watch.hooked = True
    _watch.roots = tuple(f"{root.resolve()}{os.sep}" for root in roots)
    try:
        yield
    finally:
        _watch.roots = ()


def reading(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; what they read from the watched folders is allowed."""
    while True:
        _watch.reading = True
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            _watch.reading = False
        yield batch
