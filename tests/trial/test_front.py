"""One training for all budgets: trained once a seed, its cost divided, out of reach of dev as any other."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench import BenchError, MethodError, Trainer
from bench.export import WEIGHTS
from bench.plugins import registry
from bench.runner.study import MethodStudy
from bench.trial.beginning import Shared
from bench.trial.compress import train
from bench.trial.dense import fresh_model
from bench.trial.guard import sealed
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.setting import Setting, TrialSpec
from bench.widths.cost import count_macs
from tests.trial.test_dense import quiet

BOTH = "0.5 0.25"


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("synthetic", "smoke", cache=str(tmp_path / "cache"))


def trained(
    setting: Setting, folder: Path, budget: float, budgets: str = BOTH, *, seed: int = 0, method: str = "slimmable"
) -> TrialRecord:
    spec = TrialSpec(setting, method, {"budget": budget, "budgets": budgets}, seed)
    train(spec, TrialFolder(folder), quiet)
    found = TrialFolder(folder).trained()
    assert found is not None
    return found


def fronts(setting: Setting) -> list[Path]:
    return [*Path(setting.cache).glob("front-*")]


def test_all_budgets_of_a_seed_are_one_training_and_divide_its_cost(setting: Setting, tmp_path: Path) -> None:
    wide, narrow = (trained(setting, tmp_path / str(budget), budget) for budget in (0.5, 0.25))
    assert len(fronts(setting)) == 1
    whole = json.loads((fronts(setting)[0] / "known.json").read_text())
    for record in (wide, narrow):
        assert record.train_steps == record.total_steps == setting.plan.total_steps == whole["steps"]
        assert record.train_macs == whole["macs"] / 2
        assert record.curve == whole["curve"]
        assert record.notes == ["One training serves 2 budgets, which divide its cost."]
        assert record.train_cpu_s is not None and record.train_cpu_s >= 0.45 * whole["cpu_s"]


def test_who_comes_second_has_the_model_that_it_would_have_trained(setting: Setting, tmp_path: Path) -> None:
    trained(setting, tmp_path / "first", 0.5)
    trained(setting, tmp_path / "second", 0.25)
    trained(replace(setting, cache=str(tmp_path / "other")), tmp_path / "alone", 0.25)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("second", "alone"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("other", [{"seed": 1}, {"budgets": "0.5 0.25 0.125"}, {"budgets": ""}])
def test_another_seed_and_other_budgets_are_other_trainings(
    setting: Setting, tmp_path: Path, other: dict[str, int]
) -> None:
    trained(setting, tmp_path / "first", 0.5)
    trained(setting, tmp_path / "second", 0.5, **other)  # type: ignore[arg-type]
    assert len(fronts(setting)) == 2


def test_one_fine_tuning_of_the_dense_model_serves_all_budgets(setting: Setting, tmp_path: Path) -> None:
    wide, narrow = (trained(setting, tmp_path / str(b), b, method="nested_subspaces") for b in (0.5, 0.25))
    (front,) = fronts(setting)
    whole = json.loads((front / "known.json").read_text())
    steps = setting.plan.total_steps
    for record in (wide, narrow):
        assert record.train_steps == whole["steps"] == steps - round(0.75 * steps) and record.total_steps == steps
        assert record.train_macs == whole["macs"] / 2
        assert record.start_train_macs and record.start_train_macs > whole["macs"]  # of the dense model, not divided
        assert "One training serves 2 budgets, which divide its cost." in (record.notes or [])
    trained(setting, tmp_path / "earlier", 0.25, method="nested_subspaces:dense_share=0.5")
    assert len(fronts(setting)) == 2  # it begins with another model
    trained(replace(setting, cache=str(tmp_path / "other")), tmp_path / "alone", 0.25, method="nested_subspaces")
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("0.25", "alone"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_shared_training_is_watched_as_any_other(setting: Setting, tmp_path: Path) -> None:
    task, cache = setting.build_task(), tmp_path / "cache"
    cache.mkdir()
    (cache / "dev.txt").write_text("labels")
    model = fresh_model(task, 0)
    front = Shared(cache, "front", {}, partial(fresh_model, task, 0))
    dense_macs = count_macs(model, task.example_input())
    trainer = Trainer(task, setting.plan, steps=20, seed=0, dense_macs=dense_macs, front=front)
    with pytest.raises(MethodError, match=r"touches .*dev\.txt"), sealed(task, trainer, [cache]):
        trainer.train_once(model, lambda fresh: (cache / "dev.txt").read_text(), serves=2)  # type: ignore[arg-type,return-value]
    assert not fronts(setting)


@pytest.mark.parametrize(
    ("budgets", "said"),
    [("0.25 0.125", "budget 0.5 is none of those it is trained for, 0.25 0.125"), ("a half", "are not shares")],
)
def test_budgets_that_make_no_sense_are_named(budgets: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        registry.load_method_spec("slimmable").build({"budget": 0.5, "budgets": budgets})


def test_one_budget_may_be_given_as_a_number() -> None:
    method = registry.load_method_spec("slimmable:budgets=0.25").build({"budget": 0.25})
    assert method.served == (0.25,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["slimmable", "nested_subspaces", "slimmable+quantization"])
def test_the_default_budget_is_one_of_those_it_is_trained_for(name: str) -> None:
    spec = registry.load_method_spec(f"{name}:budgets=0.3 0.1")
    assert spec.defaults()["budget"] == 0.3 and spec.at_compute(0.1)["budget"] == 0.1
    with pytest.raises(BenchError, match=r"budget 0\.25 is none of those it is trained for, 0\.3 0\.1;"):
        spec.build({"budget": 0.25})


def test_it_is_not_tuned_and_every_trial_knows_all_budgets(tmp_path: Path) -> None:
    spec = registry.load_method_spec("slimmable")
    journal, directions = tmp_path / "journal", ("minimize", "minimize")
    study = MethodStudy(spec, directions=directions, budgets=(0.5, 0.25), trials=9, journal=journal)  # type: ignore[arg-type]
    proposed = [proposal.settings for proposal in study.proposals()]
    assert study.trials == 2 and [settings["budget"] for settings in proposed] == [0.5, 0.25]
    assert {settings["budgets"] for settings in proposed} == {BOTH}
