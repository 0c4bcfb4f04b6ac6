"""Every plugin passes the one conformance suite."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import bench
from bench import Batch, BenchError, Method, Progress, Split
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


class Waits(misbehaving.Honest):
    """Waits for what does not come, and catches what it can."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        while True:
            with suppress(Exception):
                time.sleep(0.1)  # for ever


class Leaves(misbehaving.Honest):
    """Ends the process."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        trainer.fit(model, 1)
        sys.exit()


class Slips(misbehaving.Honest):
    """Makes a mistake in a line of its own that the engine calls."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        trainer.fit(model, 1, loss=lambda network, batch: network(batch.targets[:, 7]))
        return model


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Waits, r"Waits hangs: no end after 1 s, in compress\(\), .*test_check.py, line \d+: time.sleep\(0.1\)"),
        (Leaves, r"Leaves fails: SystemExit; in compress\(\), .*test_check.py, line \d+: sys.exit\(\)"),
        (Slips, r"Slips fails: IndexError: .*; in <lambda>\(\), .*test_check.py, line \d+: trainer.fit\("),
    ],
)
def test_what_hangs_or_fails_is_ended_with_the_line_of_its_own_file(
    method: type[Method], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MethodSpec(method.__name__, method.__name__, (method,), {})
    monkeypatch.setattr("bench.check.load_method_spec", lambda name: spec)
    with pytest.raises(ContractError, match=said):
        list(check_plugin(method.__name__, limit_s=1 if method is Waits else 60))


class Arrays(Probe):
    """With batches of NumPy."""

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        for batch in super().batches(split, seed):
            yield Batch(batch.inputs.numpy(), batch.targets)  # type: ignore[arg-type]


class Disagrees(Probe):
    """The scores of its items are others than those of the whole."""

    def item_scores(self, predict: bench.Predict, split: Split) -> bench.ItemScores:
        return bench.ItemScores(np.zeros(4), None, np.arange(4))


class Worded(Probe):
    """Its score is a word."""

    def evaluate(self, predict: bench.Predict, split: Split) -> dict[str, float]:
        return {self.metric.column: "good"}  # type: ignore[dict-item]


class Misnamed(Probe):
    """Its score has another name."""

    def evaluate(self, predict: bench.Predict, split: Split) -> dict[str, float]:
        return {"accuracy": 1.0}


class Listing(Probe):
    """Its scores are a list."""

    def evaluate(self, predict: bench.Predict, split: Split) -> dict[str, float]:
        return [1.0]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Arrays, "batches hold tensors, not ndarray"),
        (Disagrees, r"the headline score of item_scores\(\) is that of evaluate\(\): 0 is not \d"),
        (Worded, "evaluate.. of task Worded gives what is no number: {'eer_percent': 'good'}"),
        (Misnamed, "evaluate.. of task Misnamed gives no 'eer_percent': accuracy"),
        (Listing, "evaluate.. of task Listing gives no 'eer_percent': list"),
    ],
)
def test_inputs_and_scores_of_other_types_are_named(task: type[Probe], said: str) -> None:
    with pytest.raises(BenchError, match=said):
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
