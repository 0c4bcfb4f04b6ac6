"""What names a trial: another runtime is another trial of the same training."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.results.index import write_index
from bench.storage.files import read_json
from bench.trial import pricing
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.setting import Setting, TrialSpec
from bench.widths.cost import Price

USUAL = Setting("synthetic", "smoke")
OTHERS = [replace(USUAL, runtime="openvino"), replace(USUAL, threads=2)]


@pytest.mark.parametrize("other", OTHERS)
def test_another_runtime_is_another_trial_of_the_same_training(other: Setting) -> None:
    usual, spec = (TrialSpec(setting, "dense", {}, 0) for setting in (USUAL, other))
    assert usual.key == usual.training == spec.training != spec.key
    assert other.made_from == USUAL.made_from


def test_each_runtime_is_a_comparison_of_its_own(tmp_path: Path) -> None:
    found = []
    for setting in (USUAL, *OTHERS):
        write_index(tmp_path, setting, {}, best_possible=[], budgets=[], trials=1, seeds=1, provenance={})
        found.append(read_json(tmp_path / "comparison.json"))
    assert len({index["identity"] for index in found}) == 3
    assert [index["setting"]["runtime"] for index in found] == ["onnxruntime", "openvino", "onnxruntime"]


def test_latency_is_priced_in_each_runtime_and_bytes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    fake = lambda setting, *_: measured.append(setting.cost) or Price(setting.cost, (), 1.0)  # noqa: E731
    monkeypatch.setattr(pricing, "_measured", fake)
    for cost in ("latency", "bytes"):
        for setting in (USUAL, *OTHERS, USUAL):
            pricing.price_of(replace(setting, cost=cost, cache=str(tmp_path)))  # type: ignore[arg-type]
    assert measured == ["latency", "latency", "latency", "bytes"]


def test_what_was_trained_is_taken_over_unless_its_model_has_changed(tmp_path: Path) -> None:
    first, second = TrialFolder(tmp_path / "first"), TrialFolder(tmp_path / "second")
    second.take_training(first)
    assert not second.awaits_audit  # nothing is there to take
    first.empty()
    first.model_path.write_bytes(b"model")
    first.outputs_path.write_bytes(b"outputs")
    first.write(TrialRecord(method="dense", settings={}, seed=0, files=first.model_digests()))
    second.take_training(first)
    assert second.awaits_audit and second.model_path.read_bytes() == b"model" and not second.strange_files()
    first.model_path.write_bytes(b"other")
    third = TrialFolder(tmp_path / "third")
    third.take_training(first)
    assert not third.path.exists()
