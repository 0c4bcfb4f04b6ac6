"""``bench doctor``: what of this machine and installation a run would stumble over, and what to do about it."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from bench.errors import said
from bench.export.runtimes import DEFAULT, names, title
from bench.storage.provenance import ABSENT, multiplies_integers, processor, version_of, without_password

DISTRIBUTION = "compression-bench"


class Finding(NamedTuple):
    """What was looked at, what was found, and what to do about it; nothing if all is well."""

    about: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = "warn" if self.remedy else "ok"
        return f"{mark:5}{self.about}: {self.found}{'; ' * bool(self.remedy)}{self.remedy}"


def findings(results: Path, tracking_uri: str | None) -> Iterator[Finding]:
    """Look at one thing after the other; what cannot even be looked at is a warning.

    Args:
        results: folder that runs would write to.
        tracking_uri: of the MLflow store; SQLite in the results folder unless given.
    """
    looks: dict[str, Callable[[], Finding]] = {
        "Python": _python,
        "packages": _packages,
        "torchaudio": _torchaudio,
        **{title(name): partial(_runtime, name) for name in names()},
        "processor": _integers,
        "bf16": _bf16,
        "GPU": _gpu,
        "disk": lambda: _disk(results),
        "MLflow": lambda: _mlflow(results, tracking_uri),
    }
    for about, look in looks.items():
        try:
            yield look()
        except Exception as error:  # of a library that is broken
            yield Finding(about, without_password(said(error)), "install this package again, into an empty environment")


def _python() -> Finding:
    cores = len(os.sched_getaffinity(0))
    return Finding("Python", f"{platform.python_version()}, {cores} core{'s' * (cores > 1)}")


def _packages() -> Finding:
    """The versions that this package was made for, without its extras."""
    needed = [Requirement(text) for text in requires(DISTRIBUTION) or []]
    wrong = []
    for need in (need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})):
        there = version_of(need.name)
        if there == ABSENT or not need.specifier.contains(there, prereleases=True):
            wrong.append(f"{need.name} is {there}, expected {need.specifier}")
    found = f"{DISTRIBUTION} {version_of(DISTRIBUTION)}, {', '.join(wrong) or 'with all that it needs'}"
    return Finding("packages", found, f"pip install --upgrade {DISTRIBUTION}" if wrong else "")


def _torchaudio() -> Finding:
    import torch
    import torchaudio

    made, there = torchaudio.__version__, torch.__version__
    pair = made.split(".")[:2] == there.split(".")[:2]
    remedy = "" if pair else f"each torchaudio is built for one PyTorch: pip install torchaudio=={there.split('+')[0]}"
    return Finding("torchaudio", f"{made} with PyTorch {there}", remedy)


def _runtime(name: str) -> Finding:
    """A model goes to a file and comes back."""
    if name != DEFAULT and version_of(name) == ABSENT:
        return Finding(title(name), f"{ABSENT}; for --runtime {name}: pip install '{DISTRIBUTION}[{name}]'")
    import torch

    from bench.export.model import Predictor, export_onnx

    model, inputs = torch.nn.Linear(3, 2), torch.randn(4, 3)
    with torch.no_grad():
        same = torch.allclose(Predictor(export_onnx(model, inputs[:1]), name)(inputs), model(inputs), atol=1e-5)
    remedy = "" if same else "a file computes something else than its model: install another version of " + name
    return Finding(title(name), version_of(name), remedy)


def _integers() -> Finding:
    fast = multiplies_integers()
    found = f"{processor()}, {'with' if fast else 'without'} instructions for integers of 8 bits"
    return Finding("processor", found, "" if fast else "integer models get weights of 7 bits here, and less speed")


def _bf16() -> Finding:
    import torch

    known = torch.cpu.get_capabilities()
    cpu = any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    found = " and ".join(name for name, has in (("the GPU", gpu), ("the processor", cpu)) if has)
    return Finding("bf16", f"in {found or 'software alone'}", "" if found else "--precision bf16 would be slower here")


def _gpu() -> Finding:
    import torch

    if names := [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]:
        return Finding("GPU", ", ".join(names))
    remedy = "PyTorch does not see it: its CUDA may be newer than the driver" * Path("/proc/driver/nvidia").exists()
    return Finding("GPU", "a driver of NVIDIA's" if remedy else "none, models train on the processor", remedy)


def _disk(results: Path) -> Finding:
    from bench.runner.command import ENOUGH_BYTES

    there = next(folder for folder in (results.absolute(), *results.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:,.1f} GB free in {there}"
    if not os.access(there, os.W_OK):
        return Finding("disk", found, "it cannot be written to: choose another folder by --results")
    return Finding("disk", found, "" if free >= ENOUGH_BYTES else "make room, or choose another folder by --results")


def _mlflow(results: Path, tracking_uri: str | None) -> Finding:
    from bench.tracking.view import default_uri, require_store, trouble

    uri = tracking_uri or default_uri(results)
    try:
        require_store(uri)
    except Exception as error:  # OSError, SQLAlchemyError, BenchError
        return Finding("MLflow", str(trouble(uri, error)), "start it, or name another by --tracking-uri")
    return Finding("MLflow", f"{without_password(uri)} can be used")
