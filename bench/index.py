"""Which trials belong to a comparison: ``comparison.json``, and one such file for each model or data of a preset."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cache import content_key
from bench.files import read_json, write_json
from bench.method import Recipe
from bench.pareto import best_possible_front
from bench.points import COMPARISONS, INDEX
from bench.registry import load_task
from bench.runs import Run
from bench.trial import Setting


def write_index(
    folder: Path,
    setting: Setting,
    recipes: Sequence[Recipe],
    *,
    runs: Sequence[Run],
    frozen: Sequence[Run],
    asked: Mapping[str, Any],
) -> None:
    """Write the index of a comparison; entries of methods that took no part this time stay.

    A preset may be run with several models or data sets: each is a comparison of its own, kept under its identity, and
    ``comparison.json`` is the latest.

    Args:
        folder: of the comparison.
        setting: what all its trials have in common.
        recipes: the methods of this run.
        runs: their training runs; those without a record are left out.
        frozen: the runs that were chosen.
        asked: what else is to be kept: budgets, seeds, provenance.
    """
    task = load_task(setting.task)
    identity = content_key(
        {**setting.made_from, "multiple": setting.width_multiple, "width_groups": setting.width_groups}
    )
    kept = folder / COMPARISONS / f"{identity}.json"
    before = read_json(kept) or {}
    delivered = [share for share, _ in before.get("best_possible", [])]
    delivered += [run.record["macs_ratio"] for run in runs if run.record and run.has_model]
    index = {
        **asked,
        "identity": identity,
        "task": setting.task,
        "preset": setting.preset,
        "metric": asdict(task.metric),
        "work_unit": task.work_unit,
        "plan": {name: value for name, value in asdict(setting.plan).items() if name != "fields"},
        "setting": {**setting.made_from, "width_groups": " ".join(setting.width_groups) or "all"},
        "best_possible": best_possible_front(setting.build_task(), delivered),
        "methods": {**before.get("methods", {}), **_methods(recipes, runs, frozen)},
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, index)
    write_json(folder / INDEX, index)


def _methods(recipes: Sequence[Recipe], runs: Sequence[Run], frozen: Sequence[Run]) -> dict[str, Any]:
    chosen = {id(run) for run in frozen}
    return {
        recipe.name: {
            "stage": recipe.stage,
            "control": recipe.control,
            "trials": [
                run.entry(chosen=id(run) in chosen) for run in runs if run.recipe is recipe and run.record is not None
            ],
        }
        for recipe in recipes
    }
