"""``bench run``: check everything that can be mended, run the comparison, show the answer."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from rich.console import Console
from rich.text import Text

from bench.errors import BenchError, did_you_mean
from bench.execution.executor import Cluster, Executor
from bench.execution.local import LocalExecutor
from bench.plugins.registry import load_method_spec, load_task, names
from bench.report import write_report
from bench.report.answer import result_sections
from bench.report.data import ReportData
from bench.report.document import render_terminal
from bench.runner.comparison import Comparison, Request
from bench.runner.progress import Screen
from bench.storage.lock import sole_supervisor
from bench.trial.trainer import Hardware


class Stopped(BaseException):
    """Ctrl-C, or a request to end, has come; ``exit_code`` is what shells expect then: 128 + the signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn the first Ctrl-C (SIGINT) or SIGTERM into ``Stopped``; more are ignored, while what it stopped is closed.

    A signal that is ignored already stays so, as for a process that a shell has put in the background.
    """
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


ENOUGH_BYTES = 500_000_000
WIDTH = 132  # of the output where there is no terminal
CHAINS = ("magnitude_pruning+quantization",)  # run by default, beside every single method


def run_comparison(
    task: str,
    preset: str,
    *,
    methods: tuple[str, ...],
    results: Path,
    jobs: int,
    tracking_uri: str | None = None,
    fields: dict[str, Any] | None = None,
    device: str = "cpu",
    precision: Literal["fp32", "bf16"] = "fp32",
    trial_timeout_s: float | None = None,
    cluster: Cluster | None = None,
    **wanted: Any,
) -> ReportData:
    """Run a comparison and print its table, its answer, and where the report is.

    Raises:
        BenchError: a mistake of the user, or another run in the same results folder; said before anything is started.
        SystemExit: Ctrl-C or SIGTERM has come; all processes have ended, and what is finished is on disk.
    """
    fields = fields or {}
    load_task(task).at(preset, **_known_fields(task, fields)).check()
    chosen, broken = _usable(methods)
    _writable(results)
    hardware = Hardware(_present_device(device), precision)
    request = Request(task, preset, chosen, results, jobs, tracking_uri, fields=fields, hardware=hardware, **wanted)
    console = _console()
    _say_broken(console, broken)
    try:
        with stopping_on_signals(), sole_supervisor(results):
            data = _supervised(request, console, trial_timeout_s, cluster)
    except Stopped as stopped:
        console.print("\nStopped. Finished trials are kept; the same command goes on from there.", style="yellow")
        raise SystemExit(stopped.exit_code) from None
    print_answer(data)
    _say_broken(console, broken)
    return data


def _usable(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods that were asked for, or else all that can be loaded; and why others cannot be."""
    if wanted:
        for name in wanted:
            load_method_spec(name)
        return wanted, {}
    usable, broken = [], {}
    for name in (*names("methods"), *CHAINS):
        try:
            load_method_spec(name)
        except BenchError as error:  # somebody's file that is not finished stops nobody else's
            broken[name] = str(error)
        else:
            usable.append(name)
    return tuple(usable), broken


def _say_broken(console: Console, broken: dict[str, str]) -> None:
    for name, reason in broken.items():
        console.print(f"[red]left out[/] {name}: {reason}", highlight=False, soft_wrap=True)


def _supervised(
    request: Request, console: Console, trial_timeout_s: float | None, cluster: Cluster | None
) -> ReportData:
    screen = Screen(console, load_task(request.task).metric)
    executor = _executor(request, screen, trial_timeout_s, cluster)
    try:
        with screen:
            comparison = Comparison(request, executor, screen)
            comparison.prepare()
            comparison.search()
            comparison.finish()
            comparison.write_index()
            comparison.sync()
            data = write_report(request.folder)
            comparison.sync_report(data.points)  # after the trials: it names their runs
        return data
    finally:
        executor.close()


def _executor(request: Request, screen: Screen, timeout_s: float | None, cluster: Cluster | None) -> Executor:
    """Where trials run: here unless a cluster is given."""
    if cluster is None:
        return LocalExecutor(request.jobs, screen, [load_task(request.task).__module__], timeout_s)
    from bench.execution.ray_cluster import RayExecutor

    return RayExecutor(cluster, request.results, request.jobs, screen, timeout_s)


def _present_device(wanted: str) -> str:
    """The device that is meant; ``auto`` is a GPU if there is one."""
    found = torch.cuda.device_count()
    if wanted == "auto":
        return "cuda" if found else "cpu"
    kind, _, number = wanted.partition(":")
    known = wanted == "cpu" or (kind == "cuda" and (number or "0").isdigit())
    if not known:
        raise BenchError(f"no device is called {wanted!r}; expected auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= found:
        raise BenchError(f"device {wanted} is not there: PyTorch sees {found or 'no'} CUDA devices; try --device cpu")
    return wanted


def print_answer(data: ReportData) -> None:
    """The table, the sentence, and the path of the report."""
    console, folder = _console(), data.points.folder
    console.print(render_terminal(result_sections(data, console.width)), highlight=False)
    for name in ("report.html", "points.csv"):
        console.print(Text(f"{name.split('.')[0]}: {folder / name}"), soft_wrap=True)


def _console() -> Console:
    """The terminal; a pipe or a file is as wide as the table."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _known_fields(task: str, fields: dict[str, Any]) -> dict[str, Any]:
    known = load_task(task).__dataclass_fields__
    for name in fields:
        if name not in known:
            option = f"--{name}" if name in ("data", "model") else f"--set {name}=..."
            raise BenchError(
                f"task {task} has no field {name!r}, so {option} means nothing to it{did_you_mean(name, known)}"
            )
    return fields


def _writable(results: Path) -> None:
    """The results folder exists, can be written to, and has room."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".probe.{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise BenchError(
            f"cannot write to the results folder {results}: {error.strerror}; choose another with --results"
        ) from error
    free = shutil.disk_usage(results).free
    if free < ENOUGH_BYTES:
        raise BenchError(
            f"the results folder {results} has {free / 1e6:,.0f} MB left, {ENOUGH_BYTES / 1e6:,.0f} MB are needed; "
            "make room or choose another with --results"
        )
