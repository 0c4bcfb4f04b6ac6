"""Problems whose best possible front is known: how close does a method come?"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import repeat
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench import (
    Batch,
    BenchError,
    ItemScores,
    Metric,
    Plan,
    Predict,
    Progress,
    Split,
    Task,
    content_key,
    full_plan,
    per_split,
    quick_plan,
    smoke_plan,
)
from tasks.synthetic.problems import PROBLEMS, Branch, Choice, best_front
from tasks.synthetic.teacher import Teacher

GENERATOR_VERSION = 1  # raise it whenever the same fields give other examples
_SCORED_AT_ONCE = 4096
MOST_SCORED = 1_000_000
_STREAMS: dict[Split, int] = {"dev": 1, "eval": 2}  # stream 0 makes the teachers


class SideBySide(nn.Module):
    """One student a branch: (B, inputs of all) -> (B, targets of all)."""

    def __init__(self, branches: tuple[Branch, ...]) -> None:
        super().__init__()
        self.students = nn.ModuleList(branch.student() for branch in branches)
        self.sizes = [branch.sources for branch in branches]

    def forward(self, x: Tensor) -> Tensor:
        """Each student sees its own inputs."""
        parts = torch.split(x, self.sizes, dim=1)
        return torch.cat([student(part) for student, part in zip(self.students, parts, strict=True)], dim=1)


@dataclass(frozen=True)
class Synthetic(Task):
    """Problems with a known optimum: linear, allocation, nonlinear; MSE in percent of the power of the targets.

    ``best_possible`` is the front that theory gives; ``tasks/synthetic/problems.py`` derives it. The data are drawn
    anew for every step; dev and eval are fixed sets whose second moments are exactly those of the population, so
    that no model scores below the bound.

    Attributes:
        problem: ``linear`` (one layer of features; the optimum is principal component analysis), ``allocation``
            (three such, unequal, under one budget: reverse water-filling) or ``nonlinear`` (the teacher's units pass
            through a leaky ReLU).
        problem_seed: of the rotations of the teachers and of the sets that are scored.
        scored: examples of dev and of eval.
    """

    metric = Metric("mse", unit="percent", direction="minimize", guess=100.0)  # of a constant answer
    presets: ClassVar[dict[str, Plan]] = {
        "smoke": smoke_plan(
            dense_steps=60,
            finetune_steps=30,
            batch_size=64,
            learning_rate=2e-2,
            weight_decay=0.0,
            budgets=(0.5, 0.125),
            fields={"scored": 1024},
        ),
        "quick": quick_plan(
            dense_steps=1500,
            finetune_steps=500,
            batch_size=256,
            learning_rate=2e-2,
            weight_decay=0.0,  # it would pull away from the optimum that is known
        ),
        "full": full_plan(
            dense_steps=4500,
            finetune_steps=1500,
            batch_size=256,
            learning_rate=2e-2,
            weight_decay=0.0,
            budgets=(0.75, 0.5, 0.25, 0.125),
        ),
    }

    problem: str = "allocation"
    problem_seed: int = 0
    scored: int = 8192

    def check(self) -> None:
        """The problem must be one of those there are, with examples enough for its covariance."""
        if self.problem not in PROBLEMS:
            raise BenchError(f"synthetic has no problem {self.problem!r}; there are: {', '.join(PROBLEMS)}")
        if not 0 <= self.problem_seed < 2**32 or self.scored > MOST_SCORED:
            raise BenchError(
                f"synthetic: problem_seed {self.problem_seed} and scored {self.scored}, "
                f"expected 0 to 4294967295 and at most {MOST_SCORED}"
            )
        if self.scored < 2 * (most := max(branch.sources for branch in self._branches)):
            raise BenchError(f"synthetic needs at least {2 * most} scored examples for {most} sources")

    def prepare(self, workers: int, progress: Progress) -> str:
        """Nothing is made beforehand; the digest is one of all that the examples follow from."""
        branches = [asdict(branch) for branch in self._branches]
        return content_key(
            {"branches": branches, "seed": self.problem_seed, "scored": self.scored, "generator": GENERATOR_VERSION}
        )

    def best_possible(self, compute: float) -> float:
        """The least MSE of any integer widths that cost at most this share of the dense student."""
        within = bisect_right(self._front, compute * self._dense_macs * (1 + 1e-9), key=lambda choice: choice.macs)
        return 100 * self._front[within - 1].error

    def build_model(self) -> nn.Module:
        """The dense student."""
        branches = self._branches
        return branches[0].student() if len(branches) == 1 else SideBySide(branches)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Fresh examples for train; the fixed set for dev and eval. Inputs and targets (B, sources of all branches)."""
        if split != "train":
            yield from self._scored_set(split)
            return
        generator = torch.Generator().manual_seed(seed)
        for examples in repeat(self.batch_size):
            inputs, targets = zip(*(t.draw(examples, generator) for t in self._teachers), strict=True)
            yield Batch(torch.cat(inputs, dim=1), torch.cat(targets, dim=1))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Squared error of an example, as a share of the power of the targets, which is 1."""
        error: Tensor = model(batch.inputs) - batch.targets
        return error.square().sum(1).mean()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """MSE in percent of the power of all targets; with several branches, of each branch in percent of its own."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        """What each example adds to the MSE; with several branches an item for each, the example being the unit."""
        squares = torch.cat([(predict(b.inputs) - b.targets).double().square() for b in self.batches(split, 0)])
        parts = torch.split(squares, [branch.sources for branch in self._branches], dim=1)
        each = 100 * len(parts) * torch.stack([part.sum(1) for part in parts], dim=1)
        return ItemScores(each.numpy().ravel(), None, np.arange(len(each)).repeat(len(parts)))

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """The mean over all items; with several branches, that of each in percent of its power."""
        results, count = super().summary(items, split), len(self._branches)
        if count > 1:
            means = items.scores.reshape(-1, count).mean(axis=0) / count
            for number, (mean, branch) in enumerate(zip(means, self._branches, strict=True), 1):
                results[f"{self.metric.column}/branch {number}"] = float(mean) / branch.power
        return results

    def example_input(self) -> Tensor:
        """One example: (1, sources of all branches)."""
        return torch.zeros(1, sum(branch.sources for branch in self._branches))

    @property
    def _branches(self) -> tuple[Branch, ...]:
        return PROBLEMS[self.problem]

    @cached_property
    def _teachers(self) -> list[Teacher]:
        return [Teacher(branch, (self.problem_seed, 0, number)) for number, branch in enumerate(self._branches)]

    @per_split
    def _scored_set(self, split: Split) -> list[Batch]:
        seeds = ((self.problem_seed, _STREAMS[split], number) for number in range(len(self._branches)))
        pairs = [teacher.exact(self.scored, seed) for teacher, seed in zip(self._teachers, seeds, strict=True)]
        inputs, targets = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
        parts = torch.split(inputs, _SCORED_AT_ONCE), torch.split(targets, _SCORED_AT_ONCE)
        return [Batch(*part) for part in zip(*parts, strict=True)]

    @cached_property
    def _front(self) -> list[Choice]:
        return best_front(self._branches)

    @property
    def _dense_macs(self) -> int:
        return sum(branch.price * branch.width for branch in self._branches)
