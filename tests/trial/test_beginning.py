"""The plain beginning of a training is done once for each seed, and charged to everybody who begins so."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench.export import WEIGHTS
from bench.trial.beginning import KNOWN, Shared
from bench.trial.compress import train
from bench.trial.dense import fresh_model
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.setting import Setting, TrialSpec
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs
from tests.trial.test_dense import quiet


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("synthetic", "smoke", cache=str(tmp_path / "cache"))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schedules of all trainings."""
    schedules: list[str] = []

    def fit(self: Trainer, model: nn.Module, steps: int | None = None, **rest: Any) -> None:
        schedules.append(rest.get("schedule", "one_cycle"))
        original(self, model, steps, **rest)

    original = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", fit)
    return schedules


def trained(setting: Setting, folder: Path, method: str = "stochastic_gates", **more: Any) -> TrialRecord:
    settings = {"budget": 0.5, **{name: value for name, value in more.items() if name != "seed"}}
    train(TrialSpec(setting, method, settings, more.get("seed", 0)), TrialFolder(folder), quiet)
    found = TrialFolder(folder).trained()
    assert found is not None
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / WEIGHTS))


def test_it_is_trained_once_a_seed_and_gives_the_same_model(
    setting: Setting, tmp_path: Path, fitted: list[str]
) -> None:
    alone = trained(replace(setting, cache=str(tmp_path / "other")), tmp_path / "alone")
    trained(setting, tmp_path / "first", "feature_noise")
    fitted.clear()
    shared = trained(setting, tmp_path / "second")
    assert fitted == ["constant", "one_cycle"]
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "second")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    spent = [(r.train_steps, r.total_steps, r.train_macs, r.curve) for r in (alone, shared)]
    assert spent[0] == spent[1]
    (kept,) = (tmp_path / "cache").glob(f"beginning-*/{KNOWN}")
    assert shared.train_cpu_s is not None and shared.train_cpu_s > json.loads(kept.read_text())["cpu_s"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate_factor": 0.5}, {"warm_up_share": 0.35}])
def test_another_training_has_another_beginning(
    setting: Setting, tmp_path: Path, fitted: list[str], change: dict[str, Any]
) -> None:
    trained(setting, tmp_path / "first")
    trained(setting, tmp_path / "second", **change)
    assert fitted == ["warm_up", "constant", "one_cycle"] * 2


CHANGES = {
    "its weights": lambda model: next(model.parameters()).data.mul_(0.5),
    "what is trained": lambda model: next(model.parameters()).requires_grad_(False),
    "a hook": lambda model: model.register_forward_hook(lambda *_: None),
}


def begun(setting: Setting, cache: Path, change: Callable[[nn.Module], Any] | None = None, before: int = 0) -> float:
    """CPU seconds that were shared when a model began that a method has changed, or trained before."""
    task = setting.build_task()
    model = fresh_model(task, 0)
    beginning = Shared(cache, "beginning", {}, partial(fresh_model, task, 0))
    dense = count_macs(model, task.example_input())
    trainer = Trainer(task, setting.plan, steps=20, seed=0, dense_macs=dense, beginning=beginning)
    if change is not None:
        change(model)
    trainer.fit(model, before)
    trainer.limited(15).begin(model, 10)  # as a link of a chain
    return trainer.shared_cpu_s


@pytest.mark.parametrize("changed", CHANGES)
def test_a_model_that_is_no_longer_fresh_is_trained_by_itself_and_given_to_nobody(
    setting: Setting, tmp_path: Path, fitted: list[str], changed: str
) -> None:
    assert begun(setting, tmp_path, CHANGES[changed]) == 0
    assert begun(setting, tmp_path, before=3) == 0
    assert not [*tmp_path.glob("beginning-*")]
    begun(setting, tmp_path)
    fitted.clear()
    assert begun(setting, tmp_path) > 0
    assert fitted == ["one_cycle"]  # of no steps
    assert begun(setting, tmp_path, CHANGES[changed]) == 0
    assert "warm_up" in fitted
