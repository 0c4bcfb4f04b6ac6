"""Every plugin passes the one conformance suite."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench import Batch, BenchError, Method, Metric, Progress, Split
from bench.check import ContractError, Probe, check_method_spec, check_plugin, ensure_repeats, known_to_repeat
from bench.check.rules import each_within
from bench.plugins.method import MethodSpec
from bench.plugins.registry import load_method_spec, load_task, names, source_digest
from bench.testing import check_method, check_task
from tests import misbehaving
from tests.conftest import SmokeRun


def quiet(fraction: float, note: str) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize(
    "name", [*names("methods"), "magnitude_pruning+quantization", "importance_pruning+low_rank:rounds=4"]
)
def test_method_holds_to_the_contract(name: str) -> None:
    assert check_method(name)


def test_probe_holds_to_the_contract() -> None:
    assert check_task(Probe(batch_size=16))


@pytest.mark.parametrize("name", [name for name in names("tasks") if name != "vad"])  # see tests/tasks/test_vad_task.py
def test_task_holds_to_the_contract(name: str, smoke: SmokeRun) -> None:
    task = load_task(name).at("smoke", cache=smoke.results / "cache")
    task.prepare(1, quiet)
    assert check_task(task)


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
        check_method(method)


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


class Endless(Probe):
    """Its pass over eval does not end."""

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        yield from repeat(next(super().batches(split, seed))) if split == "eval" else super().batches(split, seed)


class Leaks(Probe):
    """Dev is what is trained on."""

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        whole = next(super().batches("dev", 0))
        for drawn in super().batches(split, seed):
            chosen = torch.randperm(len(drawn.inputs), generator=torch.Generator().manual_seed(seed))
            yield Batch(whole.inputs[chosen], whole.targets[chosen]) if split == "train" else drawn


class Shares(Probe):
    """A speaker of dev is in eval, too."""

    def disjoint(self, split: Split) -> dict[str, set[str]]:
        return {"speaker": {"ann"} if split == "train" else {"bob", split}}


class Backwards(Probe):
    """Its error rate is said to be better when it is higher."""

    metric = Metric("eer", unit="percent", direction="maximize")


@dataclass(frozen=True)
class Guesses(Probe):
    """Has several models, and takes its default for one that is misspelt."""

    model: str = "small"


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        (Guesses, r"check\(\) refuses a model that there is not"),
        (Listed, "hashable, not so parts"),
        (Shorter, "dev is one ordered pass"),
        (Endless, "eval is one pass, which ends"),
        (Leaks, "what is trained on is not scored: 16 of the 16 inputs of dev are in train"),
        (Shares, "speaker 'bob' of dev is in eval, too"),
        (Backwards, "the score follows the loss, but 50 steps .*: is direction 'maximize' of the metric right?"),
    ],
)
def test_a_task_that_breaks_the_contract_is_told_how(task: type[Probe], rule: str) -> None:
    with pytest.raises(ContractError, match=rule):
        check_task(task(batch_size=16))


class DeclinesAll(misbehaving.Honest):
    """Is for other networks."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        raise bench.Declined("there is no attention to thin out")


class Inserts(misbehaving.Honest):
    """Changes the structure by itself."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        model.head = nn.Sequential(nn.Linear(12, 3), nn.Linear(3, 2))
        return model


class Forgets(misbehaving.Honest):
    """Forgets to train."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        return model


def test_what_is_no_breach_is_said() -> None:
    assert "(0 of 20); nothing trains its weights" in " ".join(check_method(Forgets))
    assert "declines Probe, which is no error" in (last := check_method(DeclinesAll)[-1]) and "no attention" in last
    lines = "\n".join(check_method(Inserts))
    assert "cannot be built again by anybody else" in lines and "without a field `budget` it aims at no cost" in lines
    assert "is built again from its recipe" in "\n".join(check_method("magnitude_pruning"))


def test_a_method_is_tried_on_the_task_and_the_model_that_are_chosen() -> None:
    with pytest.raises(BenchError, match="antispoof has no model 'resnet11'"):
        check_method("dense", task="antispoof", model="resnet11")
    assert "declines Synthetic" in check_method("feature_noise:budget=0.01", task="synthetic")[-1]


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


class Interrupts(misbehaving.Honest):
    """Does as Ctrl-C does."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        raise KeyboardInterrupt


class Slips(misbehaving.Honest):
    """Makes a mistake in a line of its own that the engine calls."""

    def compress(self, model: nn.Module, trainer: bench.Trainer) -> nn.Module:
        trainer.fit(model, 1, loss=lambda network, batch: network(batch.targets[:, 7]))
        return model


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Waits, r"Waits hangs: no end after 1 s, in compress\(\), .*test_plugins.py, line \d+: time.sleep\(0.1\)"),
        (Leaves, r"Leaves fails: SystemExit; in compress\(\), .*test_plugins.py, line \d+: sys.exit\(\)"),
        (Interrupts, r"Interrupts fails: KeyboardInterrupt; in compress\(\), .*test_plugins.py, line \d+: raise "),
        (Slips, r"Slips fails: IndexError: .*; in <lambda>\(\), .*test_plugins.py, line \d+: trainer.fit\("),
    ],
)
def test_what_hangs_or_fails_is_ended_with_the_line_of_its_own_file(method: type[Method], said: str) -> None:
    with suppress(ContractError):
        check_method(Slips)  # the first step of a process imports for seconds
    with pytest.raises(ContractError, match=said):
        check_method(method, limit_s=1 if method is Waits else 60)


def test_ctrl_c_is_no_fault_of_the_plugin() -> None:
    def pressed() -> Iterator[str]:
        signal.raise_signal(signal.SIGINT)
        yield ""

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            list(each_within(60, "pressed", set(), pressed()))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_catches_even_its_end_is_ended_with_the_process() -> None:
    code = "import time; from bench.check import rules; rules.GRACE_S = 0.2\n"
    code += "def stubborn():\n  while True:\n    try: time.sleep(1)\n    except BaseException: pass\n  yield ''\n"
    code += "list(rules.each_within(0.2, 'stubborn', {'<string>'}, stubborn()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: stubborn hangs: no end after 0.2 s, in stubborn(), <string>, line")


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
        check_task(task(batch_size=16))


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
    with pytest.raises(ContractError, match=r"asked for 0\.5.* got 1\..*zeros in weights count only if .* 'mask'"):
        list(check_method_spec(spec, 300))


def test_the_check_itself_decides_what_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a stricter check would never be held against a method that an older one has passed."""
    honest = load_method_spec("random_pruning")
    ensure_repeats(honest, tmp_path, report=quiet)
    copy = tmp_path / "elsewhere" / "bench"
    shutil.copytree(Path(bench.__file__).parent, copy)
    monkeypatch.setattr(bench, "__path__", [str(copy)])
    source_digest.cache_clear()
    assert known_to_repeat(honest, tmp_path)
    rules = copy / "check" / "method.py"
    rules.write_text(rules.read_text() + "# changed\n")
    source_digest.cache_clear()
    assert not known_to_repeat(honest, tmp_path)
    source_digest.cache_clear()
