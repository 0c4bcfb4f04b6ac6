"""Where numbers come from: versions, processor, commit, command, time."""

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "onnxruntime", "torch-pruning", "optuna", "mlflow-skinny", "numpy", "compression-bench")


def provenance() -> dict[str, Any]:
    """What a reader needs to run the same again."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["bench", *map(without_password, sys.argv[1:])]),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def without_password(text: str) -> str:
    """The text without the user and password of an address, as a tracking store may be named with both."""
    return re.sub(r"(password=)[^&\s]+", r"\1…", re.sub(r"//.+@", "//…@", text))


def _version(package: str) -> str:
    """The version of a package; some come with extras only, and this one may run from a folder of sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    here = Path(__file__).parent
    try:
        run = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(run, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not in a git checkout"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
