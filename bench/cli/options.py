"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_RESULTS = Path("results")

TaskName = Annotated[str, typer.Argument(help="Name of the task, as `bench list` shows it.")]
Model = Annotated[str | None, typer.Option(help="Model of the task, or your own: package.module:build, file.py:build.")]
ComparisonKey = Annotated[
    str | None, typer.Option(help="Beginning of the key of an earlier comparison, as `bench report` lists them.")
]
Preset = Annotated[str, typer.Option(help="Training effort and size: smoke, quick, full; paper where a task has it.")]
TaskFields = Annotated[
    list[str] | None, typer.Option("--set", help="Any other field of the task, such as corpus_seed=1; repeatable.")
]
Results = Annotated[Path, typer.Option(help="Folder that everything is written to.", envvar="BENCH_RESULTS")]


def fields(texts: list[str], data: str | None, model: str | None) -> dict[str, Any]:
    """Values of the task's fields by name, as ``--set``, ``--data`` and ``--model`` give them."""
    from bench.plugins.fields import parse_settings

    given = {name: value for name, value in (("data", data), ("model", model)) if value is not None}
    return {**parse_settings(texts, where="--set", example="corpus_seed=1"), **given}
