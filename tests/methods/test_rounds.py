"""Pruning in rounds."""

import itertools

import pytest
import torch
from torch import nn

from bench import Trainer, Widths, count_macs
from methods._rounds import pruned_in_rounds, rounds_of
from methods.magnitude_pruning import MagnitudePruning
from tests.models import Points, mlp

TASK = Points(hidden=96, batch_size=16)


def uneven() -> nn.Module:
    """A network of which one layer has a few strong channels and many weak ones, the other channels that are alike."""
    torch.manual_seed(0)
    model = mlp(hidden=96)
    with torch.no_grad():
        strengths = torch.logspace(0, -2, 96)
        model.get_parameter("0.weight").mul_(strengths[:, None])
        model.get_parameter("2.weight").mul_(strengths)
    return model


def trainer(steps: int = 40) -> Trainer:
    dense_macs = count_macs(mlp(hidden=96), TASK.example_input())
    return Trainer(TASK, TASK.presets["quick"], steps=steps, seed=0, dense_macs=dense_macs)


def sizes(model: nn.Module) -> dict[str, int]:
    return Widths(model, TASK.example_input()).sizes


@pytest.mark.parametrize("budget", [0.25, 0.1])
def test_rounds_without_training_are_one_round(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: None)
    once, often = (
        sizes(MagnitudePruning(budget=budget, rounds=rounds).compress(uneven(), trainer())) for rounds in (1, 4)
    )
    assert once["0"] < 0.7 * once["2"]  # one group has lost far more than the other
    for name, size in once.items():
        assert often[name] == pytest.approx(size, rel=0.1), name


def test_a_group_keeps_the_mean_that_its_survivors_had() -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def choose(widths: Widths, scores: dict[str, torch.Tensor], budget: float) -> dict[str, torch.Tensor]:
        seen.append(dict(scores))
        return {name: own.topk(len(own) // 2).indices.sort().values for name, own in scores.items()}

    pruned_in_rounds(uneven(), trainer(), 0.1, 2, lambda widths: widths.norms(), choose=choose)  # type: ignore[arg-type]
    for name, first in seen[0].items():
        kept = first.topk(len(first) // 2).values
        assert float(seen[1][name].mean()) == pytest.approx(float(kept.mean()), rel=1e-4)


@pytest.mark.parametrize(("steps", "count"), [(100, 1), (100, 4), (7, 4), (1, 4), (0, 2)])
def test_rounds_approach_the_budget_and_spend_all_steps_in_one_cycle(steps: int, count: int) -> None:
    turns = [*rounds_of(steps, 0.0625, count)]
    assert [turn.budget for turn in turns] == pytest.approx([0.0625 ** (done / count) for done in range(1, count + 1)])
    assert sum(turn.steps for turn in turns) == steps
    assert all(one.part[1] == other.part[0] for one, other in itertools.pairwise(turns))
    assert turns[0].part[0] == 0 and turns[-1].part[1] == min(1, steps)


def test_rounds_for_which_there_are_no_steps_cut_all_the_same() -> None:
    run = trainer(steps=2)
    small = MagnitudePruning(budget=0.25, rounds=4).compress(uneven(), run)
    assert run.steps_left == 0 and 0.2 < run.cost(small) <= 0.25
