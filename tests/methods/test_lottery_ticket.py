import copy
from typing import Any

import pytest
import torch
from torch import nn

from bench import BudgetError, Trainer, Widths, count_macs
from bench.check import Probe
from bench.trial.repeatable import seed_everything
from bench.widths.history import steps_of
from methods.lottery_ticket import LotteryTicket


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[nn.Module, nn.Module, int]]:
    """Of each training a copy of the model before, one of the model afterwards, and the steps between."""
    found: list[tuple[nn.Module, nn.Module, int]] = []
    fit = Trainer.fit

    def spy(self: Trainer, model: nn.Module, steps: int | None = None, **how: Any) -> None:
        before, done = copy.deepcopy(model), self.steps_done
        fit(self, model, steps, **how)
        found.append((before, copy.deepcopy(model), self.steps_done - done))

    monkeypatch.setattr(Trainer, "fit", spy)
    return found


def compressed(budget: float, **settings: float) -> tuple[nn.Module, Trainer]:
    seed_everything(0)
    task = Probe(batch_size=16)
    model = task.build_model()
    macs = count_macs(model, task.example_input())
    trainer = Trainer(task, task.presets["smoke"], steps=40, seed=0, dense_macs=macs)
    return LotteryTicket(budget=budget, **settings).compress(model, trainer), trainer


def test_the_small_network_begins_with_the_early_weights_of_its_channels(
    trainings: list[tuple[nn.Module, nn.Module, int]],
) -> None:
    small, trainer = compressed(0.4, rewind_share=0.2, search_share=0.5)
    (_, early, first), (_, trained, second), (begun, _, third) = trainings
    assert (first, second, third) == (8, 12, 20) and trainer.steps_left == 0
    (step,) = steps_of(small)
    kept = step["kept_channels"]
    trained_widths = Widths(trained, torch.zeros(1, 8, 20))
    chosen = trained_widths.strongest(trained_widths.norms(), 0.4)
    assert kept == {name: channels.tolist() for name, channels in chosen.items()}
    stem, inner = (torch.tensor(kept[name]) for name in ("stem.0", "inner.0"))
    states = begun.state_dict(), early.state_dict()
    assert len(stem) < 12 and len(inner) < 16
    for name, rows in (("stem.0.bias", stem), ("stem.1.running_var", stem), ("inner.1.running_mean", inner)):
        assert torch.equal(states[0][name], states[1][name][rows])
    assert torch.equal(states[0]["inner.0.weight"], states[1]["inner.0.weight"][inner][:, stem])
    expected = Widths(early, torch.zeros(1, 8, 20)).keep(chosen).state_dict()
    torch.testing.assert_close(states[0], expected, rtol=0, atol=0)
    assert not torch.equal(states[0]["head.weight"], trained.state_dict()["head.weight"][:, stem])


@pytest.mark.parametrize("budget", [0.5, 0.25])
def test_the_budget_is_delivered(budget: float) -> None:
    small, trainer = compressed(budget)
    assert 0.8 * budget <= trainer.cost(small) <= budget


def test_a_budget_out_of_reach_is_said_before_training(trainings: list[tuple[nn.Module, nn.Module, int]]) -> None:
    with pytest.raises(BudgetError, match="smallest that can be reached"):
        compressed(1e-4)
    assert not trainings
