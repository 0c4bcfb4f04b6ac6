"""What training costs, as the trainer accounts for it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bench.check import Probe, ProbeNet
from bench.errors import MethodError
from bench.export.model import require_plain
from bench.trial.guard import sealed
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs


def trainer(steps: int = 10) -> Trainer:
    return Trainer(Probe(batch_size=16), Probe.presets["smoke"], steps=steps, seed=0, dense_macs=1)


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return ProbeNet()


def backward(run: Trainer, model: nn.Module) -> None:
    run.loss(model, next(run.batches())).backward()  # type: ignore[no-untyped-call]


def test_a_step_costs_three_passes_over_its_batch() -> None:
    run, model = trainer(), fresh()
    run.fit(model, 4)
    one = count_macs(model, torch.zeros(1, 8, 20))
    by_hand = 20 * (8 * 12 * 3 + 12 * 16 * 3 + 16 * 12 * 3) + 12 * 2
    assert one == by_hand
    assert run.macs_done == 3 * 16 * by_hand * 4


def test_a_smaller_model_trains_for_less() -> None:
    run, model = trainer(), fresh()
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

    run, model = trainer(), fresh()
    model.get_submodule("inner").register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    parametrize.register_parametrization(model.get_submodule("back"), "weight", Doubled())
    before = torch.get_rng_state()
    run.fit(model, 3)
    assert seen == [16, 16, 16]
    assert torch.equal(torch.get_rng_state(), before)
    assert parametrize.is_parametrized(model.get_submodule("back"))
    assert model.get_submodule("back").weight.shape == (12, 16, 3)
    assert run.macs_done > 0


def test_a_gradient_of_ones_own_costs_a_step() -> None:
    run, model = trainer(10), fresh()
    with sealed(run._task, run, ()):
        for _ in range(3):
            backward(run, model)
        assert (run.steps_left, run.steps_done) == (7, 3)
        run.fit(model)
    assert (run.steps_left, run.steps_done) == (0, 10)


def test_a_gradient_that_cannot_be_paid_is_refused() -> None:
    run, model = trainer(2), fresh()
    with pytest.raises(MethodError, match="asked for 1 training steps with 0 left"), sealed(run._task, run, ()):
        run.fit(model)
        torch.autograd.grad(run.loss(model, next(run.batches())), list(model.parameters()))


def test_after_the_seal_everything_is_as_before() -> None:
    run, model = trainer(3), fresh()
    with sealed(run._task, run, ()):
        run.fit(model)
    backward(run, model)  # nobody is charged
    assert next(run._task.batches("dev", 0)).inputs.shape == (16, 8, 20)
    with torch.no_grad():
        assert run._task.evaluate(model, "dev")


def test_steps_of_a_view_are_charged_to_its_parent() -> None:
    run, model = trainer(10), fresh()
    with sealed(run._task, run, ()):
        view = run.limited(6)
        backward(view, model)
        assert (run.steps_left, view.steps_left) == (9, 6)
        view.fit(model)
    assert run.steps_left == 3


def test_a_changed_plan_is_seen() -> None:
    run, model = trainer(3), fresh()
    with pytest.raises(MethodError, match=r"plan\.learning_rate from 0\.003 to 1\.0"), sealed(run._task, run, ()):
        run.plan = replace(run.plan, learning_rate=1.0)
        run.fit(model)


def test_a_plain_model_passes_and_a_buffer_is_no_secret() -> None:
    model = fresh()
    model.register_buffer("scale", torch.ones(2))
    require_plain(model, torch.zeros(1, 8, 20))


def test_a_tensor_in_an_attribute_is_hidden() -> None:
    class Secret(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = fresh()
            self.kept = [torch.ones(2, 2)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) @ self.kept[0]

    with pytest.raises(MethodError, match="computes with 4 numbers that are neither parameters nor buffers"):
        require_plain(Secret(), torch.zeros(1, 8, 20))
    require_plain(copy.deepcopy(fresh()), torch.zeros(1, 8, 20))
