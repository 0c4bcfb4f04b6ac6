"""Every plugin passes the one conformance suite."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

import pytest
from torch import nn

import bench
from bench import Batch, Method, Progress, Split
from bench.check import ContractError, Probe, check_method, check_plugin, check_task, ensure_repeats, known_to_repeat
from bench.plugins.method import MethodSpec
from bench.plugins.registry import load_method_spec, load_task, names, source_digest
from tests import misbehaving
from tests.conftest import SmokeRun


def quiet(fraction: float, note: str) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize(
    "name", [*names("methods"), "magnitude_pruning+quantization", "importance_pruning+low_rank:rounds=4"]
)
def test_method_holds_to_the_contract(name: str) -> None:
    assert list(check_method(load_method_spec(name)))


def test_probe_holds_to_the_contract() -> None:
    assert list(check_task(Probe(batch_size=16)))


@pytest.mark.parametrize("name", [name for name in names("tasks") if name != "vad"])  # see tests/tasks/test_vad_task.py
def test_task_holds_to_the_contract(name: str, smoke: SmokeRun) -> None:
    task = load_task(name).at("smoke", cache=smoke.results / "cache")
    task.prepare(1, quiet)
    assert list(check_task(task))


def test_what_was_not_found_out_is_not_remembered(tmp_path: Path) -> None:
    honest = load_method_spec("magnitude_pruning")
    ensure_repeats(honest, tmp_path, report=quiet)
    assert known_to_repeat(honest, tmp_path)
    for method in (misbehaving.Raises, misbehaving.IsUnseeded):
        method_spec = MethodSpec(method.__name__, method.__name__, (method,), {})
        with suppress(ContractError):
            ensure_repeats(method_spec, tmp_path, report=quiet)
        assert not known_to_repeat(method_spec, tmp_path)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        (misbehaving.KeepsHooks, "hooks are left"),
        (misbehaving.OnlyMasks, "asked for 0.5"),
        (misbehaving.IsUnseeded, "same seed"),
    ],
)
def test_contract_breach_is_found(method: type[Method], rule: str) -> None:
    with pytest.raises(ContractError, match=rule):
        list(check_method(MethodSpec(method.__name__, method.__name__, (method,), {})))


@dataclass(frozen=True)
class Listed(Probe):
    """With a field that cannot be hashed."""

    parts: list[int] = field(default_factory=list)  # type: ignore[assignment]


@dataclass(frozen=True)
class Shorter(Probe):
    """Its pass over dev depends on the seed."""

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        batch = next(super().batches(split, 0 if split == "dev" else seed))
        yield from islice(repeat(batch), 1 + seed) if split == "dev" else super().batches(split, seed)


@pytest.mark.parametrize(("task", "rule"), [(Listed, "hashable, not so parts"), (Shorter, "dev is one ordered pass")])
def test_a_task_that_breaks_the_contract_is_told_how(task: type[Probe], rule: str) -> None:
    with pytest.raises(ContractError, match=rule):
        list(check_task(task(batch_size=16)))


def test_data_is_prepared_before_a_task_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    class Prepared(Probe):
        def check(self) -> None:
            called.append("check")

        def prepare(self, workers: int, progress: Progress) -> str:
            called.append("prepare")
            return ""

        def build_model(self) -> nn.Module:
            called.append("model")
            return super().build_model()

    monkeypatch.setattr("bench.check.names", lambda kind: ["prepared"])
    monkeypatch.setattr("bench.check.load_task", lambda name: Prepared)
    assert list(check_plugin("prepared"))
    assert called == ["check", "prepare", "model"]


def test_a_chain_must_keep_its_budget_too() -> None:
    spec = MethodSpec("kept+spent", "kept+spent", (misbehaving.OnlyMasks, misbehaving.OnlyMasks), {})
    with pytest.raises(ContractError, match=r"asked for 0\.5"):
        list(check_method(spec))


def test_the_check_itself_decides_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a stricter check would never be held against a method that an older one has passed."""
    honest = load_method_spec("random_pruning")
    ensure_repeats(honest, tmp_path, report=quiet)
    copy = tmp_path / "elsewhere" / "bench"
    shutil.copytree(Path(bench.__file__).parent, copy)
    monkeypatch.setattr(bench, "__path__", [str(copy)])
    source_digest.cache_clear()
    assert known_to_repeat(honest, tmp_path)
    (copy / "check.py").write_text((copy / "check.py").read_text() + "# changed\n")
    source_digest.cache_clear()
    assert not known_to_repeat(honest, tmp_path)
    source_digest.cache_clear()
