"""What training costs: multiply-accumulates of every step, and equal ones for models of different size."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bench import MethodError, Trainer
from bench.check import Probe, ProbeNet
from bench.trial.ledger import PASSES
from bench.widths.cost import count_macs
from tests.models import Points

PLAN = Points.presets["quick"]


def probe(steps: int = 10) -> tuple[Trainer, nn.Module]:
    """A trainer and a convolutional network with known MACs."""
    torch.manual_seed(0)
    return Trainer(Probe(batch_size=16), Probe.presets["smoke"], steps=steps, seed=0, dense_macs=1), ProbeNet()


def test_a_step_costs_three_passes_over_its_batch() -> None:
    run, model = probe()
    run.fit(model, 4)
    one = count_macs(model, torch.zeros(1, 8, 20))
    by_hand = 20 * (8 * 12 * 3 + 12 * 16 * 3 + 16 * 12 * 3) + 12 * 2
    assert one == by_hand
    assert run.macs_done == 3 * 16 * by_hand * 4


def test_a_smaller_model_trains_for_less() -> None:
    run, model = probe()
    run.fit(model, 5)
    spent = run.macs_done
    widths = run.widths(model)
    small = widths.keep({name: torch.arange(size // 2) for name, size in widths.sizes.items()})
    run.fit(small, 5)
    assert 0 < run.macs_done - spent < 0.5 * spent


def test_counting_changes_nothing_of_what_is_trained() -> None:
    """Hooks and parametrizations with a state must see the training batches alone."""
    seen: list[int] = []

    class Doubled(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    run, model = probe()
    model.get_submodule("inner").register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    parametrize.register_parametrization(model.get_submodule("back"), "weight", Doubled())
    before = torch.get_rng_state()
    run.fit(model, 3)
    assert seen == [16, 16, 16]
    assert torch.equal(torch.get_rng_state(), before)
    assert parametrize.is_parametrized(model.get_submodule("back"))
    assert model.get_submodule("back").weight.shape == (12, 16, 3)
    assert run.macs_done > 0


def test_equal_macs_are_more_steps_of_a_smaller_model() -> None:
    """Two linear layers of a half of the width cost a half of the compute."""
    task, dense, small = Points(batch_size=16), nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 2)), nn.Linear(6, 2)
    macs = count_macs(dense, task.example_input())
    run = Trainer(task, PLAN, steps=20, seed=0, dense_macs=macs, effort="macs")
    run.fit(dense, 5)
    assert (run.steps_done, run.steps_left) == (5, 15)
    run.fit(small)
    more = round(15 * macs / count_macs(small, task.example_input()))
    assert (run.steps_done, run.steps_left) == (5 + more, 0)
    assert run.macs_done == pytest.approx(20 * PASSES * PLAN.batch_size * macs, rel=0.01)
    with pytest.raises(MethodError, match="asked for 1 training steps with 0 left"):
        run.fit(small, 1)
