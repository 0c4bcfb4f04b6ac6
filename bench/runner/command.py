"""``bench run``: check the request, run the comparison, show the answer."""

import dataclasses
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from rich.text import Text
from torch import nn

from bench.check import check_own_model
from bench.errors import BenchError, blaming
from bench.execution.executor import Executor
from bench.execution.local import LocalExecutor
from bench.export.model import export_onnx
from bench.export.runtimes import load
from bench.plugins.own_model import with_own_models
from bench.plugins.registry import load_method_spec, load_task, names
from bench.plugins.task import Plan
from bench.report import write_report
from bench.report.answer import result_sections
from bench.report.data import ReportData
from bench.report.document import render_terminal
from bench.results.index import comparisons, told_apart
from bench.runner.comparison import Comparison
from bench.runner.planned import failure
from bench.runner.progress import Screen
from bench.runner.request import Request, typed_fields
from bench.storage.files import sole_supervisor
from bench.terminal import terminal
from bench.tracking.view import require_address

ENOUGH_BYTES = 500_000_000
SHOWN = 5  # earlier comparisons, the latest first
RETRY_S = 0.05  # after which a signal that came during an import is heeded, if that has ended


class Stopped(BaseException):
    """Ctrl-C, or a request to end, has come; ``exit_code`` is what shells expect then: 128 + the signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn the first Ctrl-C (SIGINT) or SIGTERM into ``Stopped``, and ignore more while what it stopped is closed.

    A signal that is ignored already stays so, as for a process that a shell has put in the background. One that comes
    while something is imported waits for that: an exception would leave the lock of the module held, and a thread that
    imports it, too, would wait for it for ever.
    """
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    imports = _imports(sys._getframe())

    def stop(number: int, frame: FrameType | None) -> None:
        if _imports(frame) > imports:
            signal.signal(signal.SIGALRM, lambda _, frame: stop(number, frame))
            signal.setitimer(signal.ITIMER_REAL, RETRY_S)
            return
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> int:
    """How many calls of the import system lead to this frame."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        frame = frame.f_back
    return count


def checked(request: Request) -> tuple[Request, dict[str, str]]:
    """The request with its methods named, and why each of the others cannot be loaded.

    What does not exist, is of the wrong type or cannot be written to is a ``BenchError``.
    """
    task = load_task(request.task)
    fields = typed_fields(request.task, request.fields)
    with blaming(f"task {request.task}"):
        chosen = task.at(request.preset, **fields)
        with_own_models(chosen).check()
        check_own_model(chosen)
    _require_runtime(request.runtime, request.threads)
    if request.tracking_uri is not None:
        require_address(request.tracking_uri)
    if request.cost == "latency" and request.cluster is not None:
        raise BenchError(
            "--cost latency is that of one machine, and a cluster may have several: leave out --executor ray"
        )
    plan = task.presets[request.preset]
    methods, broken = _loadable(request.methods, plan)
    budgets = request.budgets or plan.budgets
    for method_spec in map(load_method_spec, methods):
        for budget in budgets:  # which a method may refuse
            method_spec.build({**method_spec.serving(budgets), **method_spec.at_compute(budget)})
    _require_room(request.results)
    return dataclasses.replace(request, methods=methods, fields=fields), broken


def _require_runtime(runtime: str, threads: int) -> None:
    """Refuse a runtime that is not there, and threads that would wait for each other."""
    load(runtime, export_onnx(nn.Identity(), torch.zeros(1, 1)).data)
    if threads > (cores := len(os.sched_getaffinity(0))):
        raise BenchError(f"--threads {threads}: this process has {cores} core{'s' * (cores > 1)}; give no more")


def present_device(wanted: str) -> str:
    """What ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1`` means, or a ``BenchError``."""
    found = torch.cuda.device_count()
    if wanted == "auto":
        return "cuda" if found else "cpu"
    kind, _, number = wanted.partition(":")
    if wanted != "cpu" and (kind != "cuda" or not (number or "0").isdigit()):
        raise BenchError(f"no device is called {wanted!r}; expected auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= found:
        raise BenchError(f"device {wanted} is not there: PyTorch sees {found or 'no'} CUDA devices; try --device cpu")
    return wanted


def _loadable(wanted: tuple[str, ...], plan: Plan) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods that were asked for, or else those of the preset that can be loaded; and why others cannot be."""
    loadable, broken = [], {}
    left_out = plan.left_out
    if wanted == ("all",):
        wanted, left_out = (), ()
    default = [*(name for name in names("methods") if name not in left_out), *plan.also]
    for name in dict.fromkeys(wanted or default):
        try:
            load_method_spec(name)
        except BenchError as error:  # an unfinished file stops the comparison only if it was asked for
            if wanted:
                raise
            broken[name] = str(error)
        else:
            loadable.append(name)
    return tuple(loadable), broken


def _require_room(results: Path) -> None:
    """Make the results folder, and refuse one that cannot be written to or that has too little room."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".probe.{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise BenchError(
            f"cannot write to the results folder {results}: {error.strerror}; choose another with --results"
        ) from error
    if (free := shutil.disk_usage(results).free) < ENOUGH_BYTES:
        raise BenchError(
            f"the results folder {results} has {free / 1e6:,.0f} MB left, {ENOUGH_BYTES / 1e6:,.0f} MB are needed; "
            "make room or choose another with --results"
        )


def run(request: Request) -> None:
    """Run a comparison and print its table, its answer, and where the report is.

    Raises:
        BenchError: a mistake of the user, or another comparison under way in the same results folder; raised before
            anything is started; or no trial has come to a model.
        SystemExit: Ctrl-C or SIGTERM has come; all processes have ended, and what is finished is on disk.
    """
    request, broken = checked(request)
    console = terminal()
    _show_broken(console, broken)
    try:
        with stopping_on_signals(), sole_supervisor(request.results):
            data, trouble = _supervise(request, console)
    except Stopped as stopped:
        console.print("\nStopped. Finished trials are kept; the same command goes on from there.", style="yellow")
        raise SystemExit(stopped.exit_code) from None
    print_answer(data)
    _show_broken(console, broken)
    if trouble:
        raise BenchError(trouble)


def print_answer(data: ReportData) -> None:
    """Print the table, the answer, why trials failed, where the report is, and which comparisons are kept beside it."""
    console, folder = terminal(), data.points.folder
    console.print(render_terminal(result_sections(data, console.width)))
    for path in (folder / "report.html", folder / "points.csv"):
        console.print(Text(f"{path.stem}: {path}"), soft_wrap=True)
    earlier = [" ".join(said) for said in told_apart(comparisons(folder)).items() if said[0] != data.points.key]
    if earlier:
        again = f"bench report {folder.parent.name} --preset {folder.name} --comparison KEY"
        console.print(Text(f"kept from earlier, to be shown again with `{again}`:"), soft_wrap=True)
    for said in earlier[: -SHOWN - 1 : -1]:
        console.print(Text(f"  {said}"), soft_wrap=True)


def _supervise(request: Request, console: Console) -> tuple[ReportData, str]:
    """What came of the comparison, and why nothing did, if no model at all is there."""
    screen = Screen(console, load_task(request.task).metric)
    executor = _executor(request, screen)
    with closing(executor), screen:
        comparison = Comparison(request, executor, screen)
        comparison.prepare()
        comparison.search()
        comparison.finish()
        comparison.write_index()
        comparison.sync()
        data = write_report(request.folder)
        comparison.sync_report(data.points)  # after the trials: it names their runs
    return data, failure(comparison.trials)


def _executor(request: Request, screen: Screen) -> Executor:
    if request.cluster is None:
        return LocalExecutor(request.jobs, screen, [load_task(request.task).__module__], request.trial_timeout_s)
    from bench.execution.ray_cluster import RayExecutor

    return RayExecutor(request.cluster, request.results, request.jobs, screen, request.trial_timeout_s)


def _show_broken(console: Console, broken: dict[str, str]) -> None:
    for name, reason in broken.items():
        console.print(Text.assemble(("left out ", "red"), f"{name}: {reason}"), soft_wrap=True)
