"""Budgets that no choice of widths can reach are refused before anything is trained."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.cache import cached_folder
from bench.errors import BenchError
from bench.files import write_json
from bench.method import Recipe
from bench.trial import Setting
from bench.widths import Widths

FOUND = "smallest.json"


def check_reach(setting: Setting, recipes: Sequence[Recipe], budgets: Sequence[float]) -> None:
    """Find out whether the model of a task can be made as small as the budgets ask for.

    Raises:
        BenchError: it cannot; the message says how small it can be made.
    """
    if not any(name.split(".")[-1] == "budget" for recipe in recipes for name in recipe.space()):
        return
    smallest = _smallest_budget(setting)
    beyond = ", ".join(f"{budget:g}" for budget in budgets if budget < smallest)
    if beyond:
        raise BenchError(
            f"budget {beyond}: no choice of widths reaches it; the smallest model that can be reached has "
            f"{smallest:.4f} of the dense compute; choose larger ones with --budgets"
        )


def _smallest_budget(setting: Setting) -> float:
    """The least share of the dense compute; found once, as following a model through PyTorch takes seconds."""
    task, groups, multiple = setting.build_task(), setting.width_groups, setting.width_multiple

    def find(folder: Path) -> None:
        axis = task.input_width_axis
        widths = Widths(task.build_model(), task.example_input(), multiple=multiple, input_axis=axis)
        write_json(folder / FOUND, {"smallest": (widths.only(groups) if groups else widths).smallest_budget})

    named = {**setting.made_from, "groups": groups, "multiple": multiple}
    found = json.loads((cached_folder(Path(setting.cache), "reach", named, find) / FOUND).read_text())
    return float(found["smallest"])
