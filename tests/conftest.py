"""What all tests share: one thread a process, and one finished smoke comparison."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process that a test starts compiles PyTorch's code anew

#: one of each kind: control, in-training, post-hoc, a chain that ends in the deployment format
SMOKE_METHODS = "dense,uniform_width,feature_noise,magnitude_pruning,magnitude_pruning+quantization"


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    output: str


def bench(*arguments: str | Path, environment: dict[str, str] | None = None, timeout: float = 240) -> Finished:
    """Run the command as a user would."""
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    run = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    return Finished(run.returncode, run.stdout)


@dataclass(frozen=True)
class SmokeRun:
    """A finished smoke comparison."""

    results: Path
    first: Finished

    @property
    def folder(self) -> Path:
        """Its own folder."""
        return self.results / "antispoof" / "smoke"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """`bench run antispoof --preset smoke` with a method of every kind, run once for all tests."""
    results = tmp_path_factory.mktemp("results")
    return SmokeRun(
        results, bench("run", "antispoof", "--preset", "smoke", "--methods", SMOKE_METHODS, "--results", results)
    )
