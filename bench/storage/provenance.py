"""Where numbers come from: versions, processor, commit, command, time."""

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch torchaudio onnx onnxruntime openvino optuna mlflow numpy scipy torch-pruning compression-bench".split()
)
ABSENT = "not installed"  # the version of what is not there


def provenance() -> dict[str, Any]:
    """What a reader needs to run the same again."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def command_line() -> str:
    """The command that this process runs, as a shell takes it, without passwords."""
    return shlex.join(["bench", *map(without_password, sys.argv[1:])])


def without_password(text: str) -> str:
    """The text with ``…`` for the user and password of an address, which that of a tracking store may contain."""
    return re.sub(r"(password=)[^&\s]+", r"\1…", re.sub(r"//.+@", "//…@", text))


def version_of(package: str) -> str:
    """The version of a package. Some come with extras only, and this one may run from its sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def _commit() -> str:
    here = Path(__file__)
    git = partial(subprocess.run, cwd=here.parent, capture_output=True, text=True, check=True, timeout=10)
    try:
        git(["git", "ls-files", "--error-unmatch", here.name])  # a wheel may lie in somebody else's checkout
        return str(git(["git", "describe", "--always", "--dirty", "--abbrev=12"]).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return "not in a git checkout"


def multiplies_integers() -> bool:
    """Whether this processor adds products of 8-bit integers up without an overflow; on x86 that takes VNNI."""
    import torch

    known = torch.cpu.get_capabilities()
    return bool(known.get("architecture") != "x86_64" or known.get("avx512_vnni") or known.get("avx_vnni"))


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
