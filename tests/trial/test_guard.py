"""While a method runs: what it may not touch is out of its reach, and every gradient is charged."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import grad  # as a method imports it, before anything is sealed

from bench import Batch
from bench.check import Probe, ProbeNet
from bench.errors import MethodError
from bench.trial import guard
from bench.trial import trainer as trainer_module
from bench.trial.guard import sealed
from bench.trial.ledger import Ledger, Meter
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs


def trainer(steps: int = 10) -> Trainer:
    return Trainer(Probe(batch_size=16), Probe.presets["smoke"], steps=steps, seed=0, dense_macs=1)


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return ProbeNet()


def backward(run: Trainer, model: nn.Module) -> None:
    run.loss(model, next(run.batches())).backward()  # type: ignore[no-untyped-call]


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


def by_macs(steps: int) -> Trainer:
    """A trainer whose dense model costs four times what the model costs."""
    macs = 4 * count_macs(fresh(), Probe().example_input())
    return Trainer(Probe(batch_size=16), Probe.presets["smoke"], steps=steps, seed=0, dense_macs=macs, effort="macs")


def test_more_steps_for_the_same_macs_are_within_the_allowance() -> None:
    run = by_macs(5)
    with sealed(run._task, run, ()):
        run.fit(fresh())
    assert (run.steps_done, run.effort_done, run.steps_left) == (20, 5, 0)


def test_an_allowance_of_macs_that_was_raised_is_not_believed() -> None:
    run = by_macs(5)
    with pytest.raises(MethodError, match="the method spent 8 training steps, it had 5"), sealed(run._task, run, ()):
        run._steps_left = 8
        run.fit(fresh())


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


def test_a_changed_task_is_seen_whatever_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(3)
    with pytest.raises(MethodError, match="changed the task: batch_size from 16 to 99"), sealed(run._task, run, ()):
        monkeypatch.setattr(Probe, "identity", lambda self: {})
        object.__setattr__(run._task, "batch_size", 99)


def descend(run: Trainer, model: nn.Module, steps: int) -> None:
    """Train without the trainer and without an optimiser."""
    for _, batch in zip(range(steps), run.batches(), strict=False):
        gradients = grad(run.loss(model, batch), list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(1e-3 * gradient)


def test_a_gradient_costs_a_step_however_it_was_imported() -> None:
    run, model = trainer(5), fresh()
    with pytest.raises(MethodError, match="asked for 1 training steps with 0 left"), sealed(run._task, run, ()):
        descend(run, model, 6)
    assert run.steps_done == 5


def test_an_optimiser_step_needs_one_that_was_paid() -> None:
    run, model = trainer(5), fresh()
    with (
        pytest.raises(MethodError, match="took 3 optimiser steps and 1 gradients, but paid for 1"),
        sealed(run._task, run, ()),
    ):
        backward(run, model)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        for _ in range(3):
            optimizer.step()


def test_a_gradient_inside_another_one_is_part_of_it() -> None:
    """As of gradient checkpointing, which runs a part of the model again."""
    run, model = trainer(4), fresh()

    def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
        stem = torch.utils.checkpoint.checkpoint(
            network.get_submodule("stem"), batch.inputs.requires_grad_(), use_reentrant=True
        )
        return stem.square().mean() + run.loss(network, batch)

    with sealed(run._task, run, ()):
        run.fit(model, loss=loss)
    assert (run.steps_left, run.steps_done) == (0, 4)


# --- what a method may replace or overwrite, to no avail


def no_charge(*_: Any) -> None:
    """Charges nothing."""


@pytest.mark.parametrize(
    ("owner", "name"), [(Trainer, "charge"), (Trainer, "_spend"), (trainer_module, "require_steps")]
)
def test_a_training_that_is_not_charged_is_seen(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though what was replaced is put back."""
    run, model = trainer(5), fresh()
    refusal = pytest.raises(MethodError, match=r"took 0 optimiser steps and 20 gradients|spent 20 training")
    with refusal, sealed(run._task, run, ()), monkeypatch.context() as patched:
        patched.setattr(owner, name, no_charge)
        descend(run, model, 20)


def test_a_trainer_that_believes_that_it_has_paid_is_not_believed() -> None:
    run, model = trainer(5), fresh()
    with (
        pytest.raises(MethodError, match="took 0 optimiser steps and 20 gradients, but paid for 0"),
        sealed(run._task, run, ()),
    ):
        run._ledger.fitting = True
        descend(run, model, 20)


@pytest.mark.parametrize("steps", [0, 10])
def test_an_account_that_is_set_back_is_not_believed(steps: int) -> None:
    run, model = trainer(10), fresh()
    with (
        pytest.raises(MethodError, match=f"took 20 optimiser steps and 20 gradients, but paid for {steps}"),
        sealed(run._task, run, ()),
    ):
        for _ in range(2):
            run._steps_left = 10
            run.fit(model)
        run._ledger.steps = steps


def test_another_ledger_is_not_believed() -> None:
    run, model = trainer(10), fresh()
    with (
        pytest.raises(MethodError, match="took 20 optimiser steps and 20 gradients, but paid for 10"),
        sealed(run._task, run, ()),
    ):
        run.fit(model)
        run._ledger, run._steps_left = Ledger(), 10
        run.fit(model)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(trainer_module, "step_macs"), (trainer_module, "count_macs"), (Ledger, "own_step"), (Meter, "update"),
     (Trainer, "fit"), (Trainer, "charge"), (Trainer, "_spend"), (Trainer, "macs_done"), (trainer_module, "Ledger")],
)  # fmt: skip
def test_what_counts_the_cost_of_training_must_stay(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(3)
    with pytest.raises(MethodError, match=rf"replaced \S*{name}: what counts"), sealed(run._task, run, ()):
        monkeypatch.setattr(owner, name, no_charge)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Probe, "batches"), (Probe, "evaluate"), (torch.autograd, "_engine_run_backward"), (guard._watch, "roots")],
)
def test_what_seals_must_stay(owner: Any, name: str, tmp_path: Path) -> None:
    run, before = trainer(3), getattr(owner, name)
    with pytest.raises(MethodError, match=f"replaced {name}"), sealed(run._task, run, [tmp_path]):
        setattr(owner, name, ())
    assert getattr(owner, name) == before


def test_files_are_read_for_training_batches_alone(tmp_path: Path) -> None:
    run, file = trainer(3), tmp_path / "frames"
    file.write_text("data")

    def batches() -> Iterator[Any]:
        yield file.read_text()

    with sealed(run._task, run, [tmp_path]):
        assert list(guard.reading(batches())) == ["data"]
        with pytest.raises(MethodError, match=r"touches .*frames while it trains"):
            file.read_text()
        with pytest.raises(MethodError, match=r"touches .*frames while it trains"):
            file.unlink()
    assert file.read_text() == "data"


def test_the_mode_of_a_file_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison may be started inside the results folder, where "r" would be a file of it."""
    run, mine = trainer(3), tmp_path / "mine"
    mine.write_text("mine")
    watched = tmp_path / "watched"
    watched.mkdir()
    monkeypatch.chdir(watched)
    with sealed(run._task, run, [watched]):
        assert mine.read_text() == "mine"
