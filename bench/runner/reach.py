"""Whether a model can be made as small as the budgets ask, said before anything is trained."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.plugins.method import MethodSpec
from bench.storage.cache import cached_folder
from bench.storage.files import write_json
from bench.trial.pricing import price_of
from bench.trial.setting import Setting
from bench.trial.verify import IN_WORDS
from bench.widths.widths import Widths

FOUND = "smallest.json"


def check_reach(setting: Setting, method_specs: Sequence[MethodSpec], budgets: Sequence[float]) -> None:
    """Refuse budgets that the model of a task cannot be made small enough for, with a ``BenchError``."""
    asked = {budget: [share for spec in method_specs for share in spec.asked_of_macs(budget)] for budget in budgets}
    if not any(asked.values()):
        return
    smallest = _smallest_budget(setting)
    of = f"the dense {IN_WORDS[setting.cost]}"
    if beyond := ", ".join(f"{budget:g}" for budget, shares in asked.items() if min(shares) < smallest):
        raise BenchError(
            f"budget {beyond}: no choice of widths reaches it; the smallest model that can be reached has "
            f"{smallest:.4f} of {of}; choose larger ones with --budgets"
        )


def _smallest_budget(setting: Setting) -> float:
    """The least share of the dense cost; found once, as following a model through PyTorch takes seconds."""
    task, groups, multiple = setting.build_task(), setting.width_groups, setting.width_multiple

    def find(folder: Path) -> None:
        axis = task.input_width_axis
        model, price = task.build_model(), price_of(setting)
        widths = Widths(model, task.example_input(), multiple=multiple, input_axis=axis, price=price)
        write_json(folder / FOUND, {"smallest": (widths.only(groups) if groups else widths).smallest_budget})

    prices = {"cost": setting.cost, **setting.prices}
    named = {**setting.made_from, "groups": groups, "multiple": multiple, **prices}
    found = json.loads((cached_folder(Path(setting.cache), "reach", named, find) / FOUND).read_text())
    return float(found["smallest"])
