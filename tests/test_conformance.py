"""Every plugin passes the one conformance suite."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import Method, Trainer
from bench.check import ContractError, Probe, check_method, check_task, ensure_repeats, known_to_repeat
from bench.plugins.method import MethodSpec
from bench.plugins.registry import load_method_spec, load_task, names
from bench.runner.request import CHAINS
from tests.conftest import SmokeRun


@pytest.mark.parametrize("name", [*names("methods"), *CHAINS, "feature_noise:form=literal"])
def test_method_holds_to_the_contract(name: str) -> None:
    assert list(check_method(load_method_spec(name)))


def test_probe_holds_to_the_contract() -> None:
    assert list(check_task(Probe(batch_size=16)))


@pytest.mark.parametrize("name", names("tasks"))
def test_task_holds_to_the_contract(name: str, smoke: SmokeRun) -> None:
    task = load_task(name).at("smoke", cache=smoke.results / "cache")
    task.prepare(1, lambda fraction, note: None)
    assert list(check_task(task))


@dataclass(frozen=True)
class Masked(Method):
    """Multiplies by zero in a hook and calls it removed."""

    stage = "post_hoc"
    budget: float = 0.5

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        model.get_submodule("stem").register_forward_hook(lambda module, inputs, output: output * 0)
        return model


@dataclass(frozen=True)
class OverBudget(Method):
    """Promises half and removes nothing."""

    stage = "post_hoc"
    budget: float = 0.5

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        trainer.fit(model)
        return model


@dataclass(frozen=True)
class Unseeded(Method):
    """Takes its randomness from elsewhere."""

    stage = "post_hoc"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        return model


@dataclass(frozen=True)
class Broken(Method):
    """Cannot be run."""

    stage = "post_hoc"

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        raise RuntimeError("no")


def test_what_was_not_found_out_is_not_remembered(tmp_path: Path) -> None:
    honest = load_method_spec("magnitude_pruning")
    ensure_repeats(honest, tmp_path)
    assert known_to_repeat(honest, tmp_path)
    for method in (Broken, Unseeded):
        method_spec = MethodSpec(method.__name__, method.__name__, (method,), {})
        with suppress(ContractError):
            ensure_repeats(method_spec, tmp_path)
        assert not known_to_repeat(method_spec, tmp_path)


@pytest.mark.parametrize(
    ("method", "rule"), [(Masked, "hooks are left"), (OverBudget, "asked for 0.5"), (Unseeded, "same seed")]
)
def test_contract_breach_is_found(method: type[Method], rule: str) -> None:
    with pytest.raises(ContractError, match=rule):
        list(check_method(MethodSpec(method.__name__, method.__name__, (method,), {})))
