"""Budgets that no choice of widths can reach are refused before anything is trained."""

from collections.abc import Sequence

from bench.errors import BenchError
from bench.method import Recipe
from bench.trial import Setting
from bench.widths import Widths


def check_reach(setting: Setting, recipes: Sequence[Recipe], budgets: Sequence[float]) -> None:
    """Find out whether the model of a task can be made as small as the budgets ask for.

    Raises:
        BenchError: it cannot; the message says how small it can be made.
    """
    if not any(name.split(".")[-1] == "budget" for recipe in recipes for name in recipe.space()):
        return
    task, groups = setting.build_task(), setting.width_groups
    axis, multiple = task.input_width_axis, setting.width_multiple
    widths = Widths(task.build_model(), task.example_input(), multiple=multiple, input_axis=axis)
    smallest = (widths.only(groups) if groups else widths).smallest_budget
    beyond = ", ".join(f"{budget:g}" for budget in budgets if budget < smallest)
    if beyond:
        raise BenchError(
            f"budget {beyond}: no choice of widths reaches it; the smallest model that can be reached has "
            f"{smallest:.4f} of the dense compute; choose larger ones with --budgets"
        )
