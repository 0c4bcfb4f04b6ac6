"""The base of tasks whose examples have one class each."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Classification, Plan, Split, soft_divergence
from bench.testing import check_task


@dataclass(frozen=True)
class Quadrants(Classification):
    """In which quarter of the plane is a point?"""

    presets: ClassVar[dict[str, Plan]] = {"smoke": Plan(100, 20, batch_size=48, learning_rate=1e-2)}

    def examples(self, split: Split) -> tuple[Tensor, Tensor]:
        counts = {"train": (0, 100), "dev": (1, 300), "eval": (2, 20)}
        seed, count = counts[split]
        points = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
        return points, (points[:, 0] > 0) + 2 * (points[:, 1] > 0)

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))


def test_it_holds_to_the_contract_and_learns() -> None:
    last = check_task(Quadrants.at("smoke"))[-1]
    before, after = (float(number) for number in last.partition("error_percent from ")[2].split(" to "))
    assert after < 15 < before


def test_training_sees_every_example_once_a_pass_and_dev_is_in_order() -> None:
    task = Quadrants.at("smoke")
    batches = task.batches("train", 3)
    passed = [next(batches) for _ in range(3)]  # of 48, 48 and 4 examples
    inputs, classes = task.examples("train")
    rows = {tuple(row): int(c) for b in passed for row, c in zip(b.inputs.tolist(), b.targets, strict=True)}
    assert rows == {tuple(row): int(c) for row, c in zip(inputs.tolist(), classes, strict=True)}
    assert torch.equal(torch.cat([b.inputs for b in task.batches("dev", 9)]), task.examples("dev")[0])
    assert task.example_input().shape == (1, 2)


def test_the_score_is_the_share_of_wrong_examples_and_the_distance_one_of_classes() -> None:
    task = Quadrants.at("smoke")
    wrong = (task.examples("eval")[1] != 0).double().mean()
    always_first = task.evaluate(lambda x: torch.eye(4)[torch.zeros(len(x), dtype=torch.long)], "eval")
    assert always_first == {"error_percent": pytest.approx(100 * float(wrong))} and 0 < wrong < 1
    one, other = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(task.distance(one, other), soft_divergence(one, other))
    batch = next(task.batches("dev", 0))
    logits = nn.Linear(2, 4)
    assert torch.equal(task.loss(logits, batch), functional.cross_entropy(logits(batch.inputs), batch.targets))


def test_examples_are_made_once_for_each_split_of_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, Split]] = []
    whole = Quadrants.examples

    def counted(task: Quadrants, split: Split) -> tuple[Tensor, Tensor]:
        made.append((id(task), split))
        return whole(task, split)

    monkeypatch.setattr(Quadrants, "examples", counted)
    one, other = Quadrants.at("smoke"), Quadrants.at("smoke")
    for task in (one, one, other):
        for split in ("dev", "eval"):
            assert sum(len(batch.targets) for batch in task.batches(split, 0)) == {"dev": 300, "eval": 20}[split]
    assert made == [(id(one), "dev"), (id(one), "eval"), (id(other), "dev"), (id(other), "eval")]
