"""The commands. Heavy imports wait until a command needs them, so that ``--help`` answers at once."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli import take_home
from bench.cli.options import DEFAULT_RESULTS, ComparisonKey, Model, Preset, Results, TaskFields, TaskName, fields
from bench.errors import BenchError, one_line
from bench.export.runtimes import DEFAULT
from bench.widths import CostAxis

if TYPE_CHECKING:
    from bench.execution.executor import Cluster

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

data_app = typer.Typer(help="Look at data before anything is trained.", no_args_is_help=True)
app.add_typer(data_app, name="data")


TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow store. Default: SQLite in the results.", envvar="MLFLOW_TRACKING_URI")
]
NewName = Annotated[str, typer.Argument(help="What it will be called: my_name.")]
Package = Annotated[bool, typer.Option("--package", help="Write a package with an entry point and a test.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from bench.storage.provenance import version_of

        print(f"compression-bench {version_of('compression-bench')}")
        raise typer.Exit


@app.callback()
def about(version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False) -> None:
    """Is a network better compressed while it trains, or afterwards? Run the comparison and read the answer."""


@app.command("list")
def list_plugins() -> None:
    """Show the tasks and methods there are."""
    from bench.cli.listing import show_plugins

    show_plugins()


@app.command()
def run(  # noqa: PLR0917  (typer makes the options from the parameters)
    task: TaskName,
    methods: Annotated[
        str,
        typer.Option(
            help="Comma- or ;-separated; a+b chains, a:x=1,y=2;b sets; all is all. Default: the preset's.",
            metavar="LIST",
        ),
    ] = "",
    budgets: Annotated[str, typer.Option(help="Fractions of the dense compute: 0.5,0.25.", metavar="LIST")] = "",
    trials: Annotated[int | None, typer.Option(help="Trials a method: one a budget, the others tune.", min=1)] = None,
    seeds: Annotated[int | None, typer.Option(help="Training runs of every chosen point.", min=1)] = None,
    preset: Preset = "quick",
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time. Default: one a core; one alone with --cost latency.", min=1)
    ] = None,
    trial_timeout: Annotated[
        float | None, typer.Option(help="End a trial that trains longer than this.", min=1, metavar="SECONDS")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Where trials run: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, HOST:6379. Default: one of this machine.", metavar="ADDRESS")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="Cores of a trial on Ray. Default: 1.", min=0)] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of a trial on Ray; 0.25 lets four share one.", min=0)] = None,
    data: Annotated[str | None, typer.Option(help="Data folder, manifest.csv or `embedded`.", metavar="DIR")] = None,
    model: Model = None,
    set_: TaskFields = None,
    widths: Annotated[
        str, typer.Option(help="Width groups that methods may change, by the beginning of the name.", metavar="LIST")
    ] = "",
    device: Annotated[str, typer.Option(help="What trains: auto (a GPU if there is one), cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16 trains with automatic mixed precision.")
    ] = "fp32",
    effort: Annotated[
        Literal["steps", "macs"], typer.Option(help="Train every model for as many steps, or as many training MACs.")
    ] = "steps",
    cost: Annotated[
        CostAxis,
        typer.Option(help="What budgets are shares of: MACs, or the exported file's size, peak memory or latency."),
    ] = "macs",
    runtime: Annotated[str, typer.Option(help="What files are scored and timed in: onnxruntime, openvino.")] = DEFAULT,
    threads: Annotated[int, typer.Option(help="Threads on which files are timed.", min=1)] = 1,
    distill: Annotated[bool, typer.Option("--distill", help="All models learn from the dense model, too.")] = False,
    width_multiple: Annotated[int, typer.Option(help="Round widths to multiples of this; runtimes like 8.", min=1)] = 1,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
) -> None:
    """Run every method at every budget, and answer the question for this task."""
    waiting = sys.stderr.isatty()
    if waiting:
        print(f"{task} · {preset}: loading PyTorch …", end="", file=sys.stderr, flush=True)
    from bench.runner import command
    from bench.runner.request import Request
    from bench.trial.repeatable import Hardware

    if waiting:  # the next message begins on an empty line
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    command.run(
        Request(
            task,
            preset,
            _list(methods),
            results,
            jobs or (1 if cost == "latency" else len(os.sched_getaffinity(0))),  # who measures is alone on the machine
            tracking_uri,
            budgets=tuple(map(_fraction, _list(budgets))) or None,
            trials=trials,
            seeds=seeds,
            fields=fields(set_ or [], data, model),
            width_multiple=width_multiple,
            width_groups=_list(widths),
            hardware=Hardware(command.present_device(device), precision),
            effort=effort,
            cost=cost,
            runtime=runtime,
            threads=threads,
            distill=distill,
            trial_timeout_s=trial_timeout,
            cluster=_cluster(executor, address=address, cpus=cpus, gpus=gpus),
        )
    )


@app.command()
def report(
    task: TaskName,
    preset: Preset = "quick",
    model: Model = None,
    comparison: ComparisonKey = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Build report.html, report.md and points.csv again from what was tracked."""
    from bench.report import write_report
    from bench.results.index import comparison_folder, select_comparison
    from bench.runner.command import print_answer
    from bench.storage.files import sole_supervisor

    folder = comparison_folder(results, task, preset)
    if model is not None or comparison is not None:
        with sole_supervisor(results):
            select_comparison(folder, model, comparison)
    print_answer(write_report(folder))


app.command(context_settings=take_home.LIMITED)(take_home.pick)
app.command(context_settings=take_home.LIMITED)(take_home.export)
app.command()(take_home.score)


@app.command()
def explain(
    task: TaskName,
    model: Model = None,
    preset: Preset = "quick",
    picture: Annotated[Path, typer.Option(help="Where the picture goes.", metavar="FILE.svg")] = Path("widths.svg"),
) -> None:
    """Show what the width graph found: groups, each layer's share of MACs and latency, what must stay and why."""
    from bench.check import check_own_model
    from bench.plugins.own_model import with_own_models
    from bench.plugins.registry import load_task
    from bench.report import explain as explanation
    from bench.runner.request import typed_fields

    chosen = load_task(task).at(preset, **typed_fields(task, fields([], None, model)))
    with_own_models(chosen).check()
    check_own_model(chosen)
    explanation.explain(chosen, picture)


@app.command()
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="results/<task>/<preset>, a results folder, a points.csv.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Likewise.")],
    output: Annotated[Path | None, typer.Option(help="Write the same as Markdown.", metavar="FILE.md")] = None,
) -> None:
    """Lay two result sets (two commits, two machines) side by side: what differs beyond noise?"""
    from bench.compare import compare_results

    compare_results(first, second, output)


@app.command()
def ui(
    results: Results = DEFAULT_RESULTS,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """Open the MLflow UI on the results, on this machine only."""
    from bench.tracking.view import serve

    serve(results, port, tracking_uri)


@app.command()
def cache(
    results: Results = DEFAULT_RESULTS,
    clear: Annotated[str, typer.Option(help="A kind, a key, `unfinished` or `all`.", metavar="NAME")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Clear without asking.")] = False,
) -> None:
    """List what is kept for later runs (data, dense models), or clear it; results are never touched."""
    from bench.storage import cache as folders

    if clear:
        folders.clear(results, clear, confirm=lambda question: yes or typer.confirm(question))
    else:
        folders.show(results)


@data_app.command("check")
def check_data(
    task: Annotated[str, typer.Option(help="Name of the task, as `bench list` shows it.", metavar="NAME")],
    data: Annotated[
        str | None, typer.Argument(help="Folder or manifest.csv. Default: the embedded data.", metavar="DIR|FILE")
    ] = None,
    preset: Preset = "quick",
    set_: TaskFields = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Count, measure and compare the recordings of a corpus; exit code 2 if they cannot be trained on.

    A manifest has a line for each recording, with a path relative to it, and speakers in one split each:

    path,label,split,speaker,attack\n
    wav/one.flac,spoof,train,anna,A01

    for antispoof (label: bonafide or spoof), and for vad (label: speech or noise; segments of speech in seconds)

    path,label,split,speaker,segments\n
    wav/two.wav,speech,eval,ben,0.35-1.2;1.8-3.05
    """
    from bench.runner import data as data_check

    data_check.check_data(task, preset, fields(set_ or [], data, None), results, len(os.sched_getaffinity(0)))


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Name of a method or a task.")],
    task: Annotated[str, typer.Option(help="Try a method on this task, at its smallest preset.", metavar="TASK")] = "",
    model: Model = None,
    limit: Annotated[float, typer.Option(help="End what takes longer for a rule.", min=1, metavar="SECONDS")] = 300,
) -> None:
    """Hold a method or a task to the contract."""
    from bench.check import check_plugin

    for line in check_plugin(name, limit, task=task, model=model or ""):
        print(line, flush=True)


@app.command("new-method")
def new_method(name: NewName, package: Package = False) -> None:
    """Write a method that runs as it is, for you to change."""
    _new("methods", name, package)


@app.command("new-task")
def new_task(name: NewName, package: Package = False) -> None:
    """Write a task that runs as it is, for you to change: scikit-learn's digits, a minute to train."""
    _new("tasks", name, package)


@app.command()
def doctor(results: Results = DEFAULT_RESULTS, tracking_uri: TrackingUri = None) -> None:
    """Look at this machine and installation: what a run would stumble over, and what to do about it."""
    from bench.doctor import findings

    for finding in findings(results, tracking_uri):
        print(finding, flush=True)


def _new(kind: Literal["methods", "tasks"], name: str, package: bool) -> None:
    from bench.authoring import new_plugin

    for path in new_plugin(kind, name, package):
        print(path)
    run = f"bench run {name}" if kind == "tasks" else f"bench run synthetic --methods dense,{name}"
    install = f"pip install -e ./{name}; " if package else ""
    print(f"next: {install}bench check {name}; {run} --preset smoke")


def _cluster(executor: str, **options: Any) -> "Cluster | None":
    from bench.execution.executor import Cluster

    given = {name: value for name, value in options.items() if value is not None}
    if executor == "local" and (name := next(iter(given), "")):
        raise BenchError(f"--{name} {given[name]} is for Ray, but trials run on this machine; add --executor ray")
    cluster = Cluster(**given)
    if not cluster.cpus and not cluster.gpus:
        raise BenchError("a trial needs cores or GPUs: give --cpus or --gpus more than 0")
    return cluster if executor == "ray" else None


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(";" if ";" in text else ","))))


def _fraction(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) <= 1:
            return value
    raise BenchError(f"budget {text!r} is outside (0, 1]; budgets are fractions of the dense compute, such as 0.5,0.25")


def main() -> None:
    """Run a command; a user's mistake is one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # signs that the terminal of a C locale does not have
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="bench")
    except (BenchError, OSError) as error:  # OSError: a full disk, a folder that has become read-only
        kept = "; finished trials are kept, the same command goes on from there" if isinstance(error, OSError) else ""
        print(f"error: {one_line(str(error))}{kept}", file=sys.stderr)
        raise SystemExit(2) from None
