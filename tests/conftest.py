"""What all tests share: one thread a process, and one finished smoke comparison."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
# else every process that runs tests rewrites their assertions anew, and those that it starts compile PyTorch's code
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that import ONNX Runtime before bench

#: one of each kind: control, in-training, post-hoc, a chain that ends in the deployment format
SMOKE_METHODS = "dense,uniform_width,feature_noise,magnitude_pruning,magnitude_pruning+quantization:rounds=1"

#: a shell that runs the tests in the background ignores SIGINT, and so would everything started from there
HEEDING_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
HEEDING_INTERRUPTS += "from bench.cli import main; main()"


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    output: str


def bench(*arguments: str | Path, environment: dict[str, str] | None = None, timeout: float = 480) -> Finished:
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


@pytest.fixture
def bench_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command in this process, jobs and all: where it stands alone is proved already, and imports take seconds."""
    from bench import cli
    from tests.jobs import Here

    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr("bench.runner.command.LocalExecutor", lambda jobs, screen, *_: Here(jobs, screen))
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Finished(int(ended.value.code or 0), said.out + said.err)

    return run


@dataclass(frozen=True)
class SmokeRun:
    """A finished smoke comparison, which tests may repeat and read; who damages it takes a copy."""

    results: Path
    task: str
    first: Finished

    @property
    def folder(self) -> Path:
        """Its own folder."""
        return self.results / self.task / "smoke"


def _shared(factory: pytest.TempPathFactory, task: str, methods: str, *more: str) -> SmokeRun:
    """`bench run TASK --preset smoke`, once for all processes that run tests."""
    own = factory.getbasetemp()
    results = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / f"{task}-smoke"
    said = results / "said.txt"
    with FileLock(results.with_suffix(".lock")):
        if not said.exists():
            chosen = ("--preset", "smoke", "--methods", methods, *more)
            run = bench("run", task, *chosen, "--jobs", "2", "--results", results)
            assert run.code == 0, run.output
            said.write_text(run.output)
    return SmokeRun(results, task, Finished(0, said.read_text()))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """A comparison on the anti-spoofing task with a method of every kind."""
    return _shared(tmp_path_factory, "antispoof", SMOKE_METHODS)


@pytest.fixture(scope="session")
def synthetic_smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """The smallest comparison there is: seconds."""
    return _shared(tmp_path_factory, "synthetic", "uniform_width")


@pytest.fixture(scope="session")
def streamed_smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """A comparison of models that run chunk by chunk, and of one in integers, which does not."""
    methods = "dense,magnitude_pruning,low_rank,magnitude_pruning+quantization"
    return _shared(tmp_path_factory, "vad", methods, "--model", "causal", "--budgets", "0.5", "--trials", "1")
