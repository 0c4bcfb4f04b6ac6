"""The commands for somebody who has found a model to ship: pick, export, score."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_RESULTS, ComparisonKey, Model, Preset, Results, TaskFields, TaskName, fields

#: what is no option of a command is one of its limits, `--max-KEY VALUE`
LIMITED = {"allow_extra_args": True, "ignore_unknown_options": True}


def pick(  # noqa: PLR0917  (typer makes the options from the parameters)
    context: typer.Context,
    task: TaskName,
    preset: Preset = "quick",
    model: Model = None,
    comparison: ComparisonKey = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Name the best finished model within limits: bench pick antispoof --max-eer 10 --max-latency-ms 2.

    Limits are --max-KEY VALUE: the metric of the task (--min-KEY where high is good), latency-ms, size-bytes,
    memory-bytes, macs, params. Of the points that keep all of them, the one with the best mean score on dev; where the
    score alone is limited, the cheapest. Limits on the score hold on dev. Eval is reported and decides nothing.
    """
    from bench.results.index import comparison_folder, find_comparison
    from bench.ship.card import show
    from bench.ship.pick import find

    folder = comparison_folder(results, task, preset)
    choice = find(folder, find_comparison(folder, model, comparison), context.args, {})
    same = choice.points.export_command(*context.args, "--comparison", choice.points.key)  # whatever is run until then
    show(choice, f"take it home: {same}")


def export(  # noqa: PLR0917  (typer makes the options from the parameters)
    context: typer.Context,
    task: TaskName,
    preset: Preset = "quick",
    trial: Annotated[str | None, typer.Option(help="Key of a trial, or its beginning.", metavar="KEY")] = None,
    method: Annotated[str | None, typer.Option(help="Method spec of a chosen point.")] = None,
    budget: Annotated[float | None, typer.Option(help="Its budget.")] = None,
    seed: Annotated[int | None, typer.Option(help="Its seed. Default: the best on dev.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder to write.", metavar="DIR")] = None,
    data: Annotated[str | None, typer.Option(help="Corpus that it was trained on, if yours.", metavar="DIR")] = None,
    set_: TaskFields = None,
    model: Model = None,
    comparison: ComparisonKey = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write a model with its card and a script that scores with it; chosen by limits as in `bench pick`, or named."""
    from bench.results.index import comparison_folder, find_comparison
    from bench.ship.card import show
    from bench.ship.export import write_export
    from bench.ship.pick import find

    asked = {"trial": trial, "method": method, "budget": budget, "seed": seed}
    kept = comparison_folder(results, task, preset)
    choice = find(kept, find_comparison(kept, model, comparison), context.args, asked)
    folder = write_export(choice, to, fields(set_ or [], data, None))
    show(choice, f"written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def score(
    model: Annotated[Path, typer.Argument(help="Folder that `bench export` has written, or its scorer.onnx.")],
    paths: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.")],
    output: Annotated[Path | None, typer.Option(help="Write all scores there.", metavar="FILE.csv")] = None,
) -> None:
    """Score recordings with an exported model; other sample rates and several channels are treated as in training."""
    from bench.ship.scoring import score_files

    score_files(model, paths, output)
