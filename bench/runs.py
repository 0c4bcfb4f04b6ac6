"""The training runs of a comparison: what each was asked, what came of it, which are chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from bench.method import Recipe
from bench.selection import frozen_choices
from bench.task import Metric
from bench.trial import TrialSpec


@dataclass
class Run:
    """One training run.

    Attributes:
        recipe: its method.
        number: of the trial in the method's study; repeats with other seeds have the number of their trial.
        spec: what to train.
        role: ``search`` for a trial of the study, ``repeat`` for a chosen point with another seed.
        record: what came of it, once it has finished.
    """

    recipe: Recipe
    number: int
    spec: TrialSpec
    role: Literal["search", "repeat"]
    record: dict[str, Any] | None = None

    @cached_property
    def asked_compute(self) -> float | None:
        """The fraction of the dense compute that was asked for."""
        return self.recipe.build(self.spec.settings).asked_compute

    @property
    def label(self) -> str:
        """Its name for a person."""
        asked = "" if self.asked_compute is None else f" at {self.asked_compute:.3g}"
        return f"{self.recipe.name}{asked}" + (f", seed {self.spec.seed}" if self.spec.seed else "")

    @property
    def has_model(self) -> bool:
        """Whether it has finished with a model."""
        return self.record is not None and self.record["status"] in ("complete", "missed")

    @property
    def objectives(self) -> tuple[float, float] | None:
        """Dev score and compute (non-zero MACs as a fraction of the dense model's); None without a model."""
        if not self.has_model or self.record is None:
            return None
        return next(iter(self.record["dev"].values())), self.record["effective_macs"] / self.record["dense_macs"]

    def error(self, sign: int) -> float | None:
        """What it is chosen by, small is good: its dev error, infinite if it missed its budget; None: no model."""
        if self.objectives is None or self.record is None:
            return None
        return math.inf if self.record["status"] == "missed" else sign * self.objectives[0]

    def entry(self, *, chosen: bool) -> dict[str, Any]:
        """How the comparison's index names it."""
        return {
            "key": self.spec.key,
            "trial": self.number,
            "seed": self.spec.seed,
            "role": self.role,
            "budget": self.asked_compute,
            "settings": dict(self.spec.settings),
            "chosen": chosen,
        }


def chosen_runs(runs: Sequence[Run], metric: Metric, budgets: Sequence[float]) -> list[Run]:
    """The best run on dev of every method and budget, of those of the search."""
    sign = 1 if metric.direction == "minimize" else -1
    chosen = []
    for name in dict.fromkeys(run.recipe.name for run in runs):
        own = {run.number: run for run in runs if run.recipe.name == name and run.role == "search"}
        errors = {n: run.error(sign) for n, run in own.items()}
        asked = {number: run.asked_compute for number, run in own.items()}
        chosen += [own[number] for number in frozen_choices(asked, errors, budgets)]
    return chosen
