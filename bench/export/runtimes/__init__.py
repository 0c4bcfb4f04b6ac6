"""What executes an exported file: a module here is a runtime, called like the package that it needs.

Such a module has a ``TITLE`` and a class ``Session(data, threads)``: the bytes of an ONNX file, loaded on so many
threads of the CPU. Called with the inputs, arrays, it gives the first output. Where a runtime may compute with less
precision than the file says, it is told not to. On one thread all the work is done by the thread that calls, whose
clock is read.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import BenchError, did_you_mean, said

if TYPE_CHECKING:  # --help needs a name alone
    import numpy as np
    from numpy.typing import NDArray

DEFAULT = "onnxruntime"
#: how a comparison is scored and timed unless it says something else, as those before there was a choice
TIMED_IN: dict[str, Any] = {"runtime": DEFAULT, "threads": 1}


class Session(Protocol):
    """A file that is loaded."""

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The first output for contiguous inputs, in the order and with the axes of the file."""


def names() -> list[str]:
    """The runtimes there are, installed or not."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def title(name: str) -> str:
    """What a runtime is called in a text.

    Raises:
        BenchError: there is none of this name.
    """
    return str(_module(name).TITLE)


def load(name: str, data: bytes, threads: int = 1) -> Session:
    """The bytes of an ONNX file, ready to be executed on so many threads.

    Raises:
        BenchError: there is no such runtime, it is not installed, or it cannot load this file.
    """
    module = _module(name)
    try:
        session: Session = module.Session(data, threads)
    except ImportError as error:
        raise BenchError(
            f"--runtime {name}: the package {name} cannot be imported ({said(error)}); "
            f"pip install 'compression-bench[{name}]'"
        ) from error
    except Exception as error:  # each runtime has types of its own
        raise BenchError(f"{module.TITLE} cannot load this ONNX file: {said(error)}") from error
    return session


def in_words(name: str, threads: int, version: str) -> str:
    """Where a latency was measured, and by which clock.

    >>> in_words("openvino", 2, "2026.4.1")
    'OpenVINO 2026.4.1 on 2 threads (wall-clock time)'
    """
    on = "one thread" if threads == 1 else f"{threads} threads (wall-clock time)"
    return f"{title(name)} {version} on {on}".replace("  ", " ")


def _module(name: str) -> Any:
    if name not in names():
        raise BenchError(f"no runtime is called {name!r}{did_you_mean(name, names())}; there are: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")
