"""No layer is cut down to a channel or two, and widths that were found can be trained from scratch."""

import pytest
import torch
from torch import nn

from bench import Method, Trainer, Widths, count_macs
from bench.trial.repeatable import seed_everything
from methods._steering import at_least
from methods.budgeted_broadcast_units import BudgetedBroadcastUnits
from methods.feature_noise import FeatureNoise
from methods.given_widths import GivenWidths
from methods.stochastic_gates import StochasticGates
from tests.models import Points


def test_the_best_of_every_group_stand_above_all_others() -> None:
    scores = {"a": torch.tensor([5.0, 9.0, 7.0, 8.0]), "b": torch.tensor([0.3, 0.1, 0.2, 0.4])}
    lifted = at_least(scores, 0.5)
    assert {name: own.topk(2).indices.sort().values.tolist() for name, own in lifted.items()} == {
        "a": [1, 3],
        "b": [0, 3],
    }
    assert lifted["b"].topk(2).values.min() > max(own.sort().values[1] for own in lifted.values())
    assert [own.argsort().tolist() for own in lifted.values()] == [own.argsort().tolist() for own in scores.values()]


def run(method: Method) -> tuple[dict[str, int], Trainer, nn.Module]:
    task = Points(hidden=40, batch_size=16)
    seed_everything(0)
    model = task.build_model()
    macs = count_macs(model, task.example_input())
    trainer = Trainer(task, task.presets["quick"], steps=100, seed=0, dense_macs=macs)
    small = method.compress(model, trainer)
    assert isinstance(small, nn.Module)
    return Widths(small, task.example_input()).sizes, trainer, small


@pytest.mark.parametrize("method", [FeatureNoise, StochasticGates, BudgetedBroadcastUnits])
def test_a_method_keeps_kappa_of_every_layer(method: type[Method]) -> None:
    sizes, _, _ = run(method(budget=0.25, kappa=0.2))  # type: ignore[call-arg]
    assert sizes and all(size >= 0.2 * 40 for size in sizes.values())


def test_given_widths_are_delivered_and_trained_with_all_steps() -> None:
    before, _, _ = run(GivenWidths())
    first, second = before
    sizes, trainer, _ = run(GivenWidths(budget=0.5, widths=f"{first}=11 {second}=5"))
    assert sizes == {first: 11, second: 5} and before == {first: 40, second: 40}
    assert (trainer.steps_done, trainer.steps_left) == (100, 0)
