"""Which budgets a model can be made small enough for, found before anything is trained."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import Declined, blaming
from bench.execution.executor import Executor, Job
from bench.plugins.method import MethodSpec
from bench.plugins.own_model import dense_model
from bench.plugins.task import Progress
from bench.storage.cache import cached_folder
from bench.storage.files import write_json
from bench.trial.pricing import price_of
from bench.trial.setting import Setting
from bench.widths import IN_WORDS
from bench.widths.widths import Widths

FOUND = "smallest.json"


def within_reach(
    setting: Setting, method_specs: Sequence[MethodSpec], budgets: Sequence[float], executor: Executor
) -> tuple[tuple[float, ...], str]:
    """Of these budgets those that the model of a task can be made small enough for, and why the others are not.

    What it takes is found once, by a job: its process has imported what follows a model, which takes seconds here.
    """
    asked = {budget: [share for spec in method_specs for share in spec.asked_of_macs(budget)] for budget in budgets}
    if not any(asked.values()) and not setting.width_groups:  # those must exist, whoever changes them
        return tuple(budgets), ""

    def find(folder: Path) -> None:
        job = Job("reach", "smallest model", smallest_budget, (setting,), timed=False)
        write_json(folder / FOUND, {"smallest": executor.run_alone(job)})

    widths = {"groups": setting.width_groups, "multiple": setting.width_multiple}
    named = {**setting.made_from, **widths, "cost": setting.cost, **setting.prices}
    smallest = json.loads((cached_folder(Path(setting.cache), "reach", named, find) / FOUND).read_text())["smallest"]
    reached = tuple(budget for budget, shares in asked.items() if all(share >= smallest for share in shares))
    beyond = ", ".join(f"{budget:g}" for budget in asked if budget not in reached)
    why = f"no choice of widths reaches it; the smallest model that can be reached has {smallest:.4f} of the dense"
    return reached, f"budget {beyond}: {why} {IN_WORDS[setting.cost]}" if beyond else ""


def smallest_budget(setting: Setting, report: Progress) -> float:
    """Job: the least share of the dense cost that a choice of widths has."""
    with blaming(f"task {setting.task} cannot build its model with these fields"):
        task, groups = setting.build_task(), setting.width_groups
        model, example, axis = dense_model(task), task.example_input(), task.input_width_axis
        options: dict[str, Any] = {"multiple": setting.width_multiple, "input_axis": axis, "price": price_of(setting)}
        widths = Widths(model, example, **options, strict=bool(groups))
        try:
            return (widths.only(groups) if groups else widths).smallest_budget
        except Declined:  # no widths to find: methods that need them will say so, the others know other ways
            return 0.0
