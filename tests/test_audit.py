"""What the audit finds in the files that a training process leaves."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.errors import BenchError
from bench.export.model import RECIPE, WEIGHTS, rebuilt_model
from bench.storage.files import file_digest, read_json
from bench.trial.compress import Setting, TrialSpec, probe_inputs, run_trial
from bench.trial.record import MODEL, OUTPUTS, TRAINED, finished_record
from bench.trial.verify import audit_trial, still_as_audited
from bench.widths.cost import count_macs


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    setting = Setting("synthetic", "smoke", {"problem": "allocation"}, cache=str(tmp_path / "cache"))
    return TrialSpec(setting, "magnitude_pruning", {"budget": 0.5}, seed=3)


@pytest.fixture
def trained(spec: TrialSpec, tmp_path: Path) -> Path:
    run_trial(spec, tmp_path / "trial", lambda done, steps, loss: None)
    return tmp_path / "trial"


def edit(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file, and the digest that the training process gave of it."""
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    noted = json.loads((folder / TRAINED).read_text())
    noted["files"][name] = file_digest(folder / name)
    (folder / TRAINED).write_text(json.dumps(noted))


def test_the_training_process_says_nothing_of_quality_or_compute(trained: Path) -> None:
    said = read_json(trained / TRAINED)
    assert said is not None
    assert not {"dev", "macs", "params", "size_bytes", "status"} & set(said)
    assert set(said["files"]) == {MODEL, WEIGHTS, RECIPE}


def test_an_honest_model_passes_and_is_built_again(spec: TrialSpec, trained: Path) -> None:
    record = audit_trial(spec, trained)
    assert (record["status"], record["reason"]) == ("complete", "")
    assert record["audit"]["passed"]
    assert record["audit"]["rebuilt"]
    assert record["audit"]["difference"] < 1e-4
    assert record["size_bytes"] == (trained / MODEL).stat().st_size
    assert 0.4 < record["macs_ratio"] <= 0.5
    assert still_as_audited(trained, record) == ""
    assert audit_trial(spec, trained) == record  # an audit that was done is not done again


def test_the_rebuilt_module_is_the_trained_one(spec: TrialSpec, trained: Path) -> None:
    task = spec.setting.build_task()
    module = rebuilt_model(task, trained)
    assert module is not None
    assert not module.training
    assert count_macs(module, task.example_input()) <= 0.5 * count_macs(task.build_model(), task.example_input())
    with torch.no_grad():
        outputs = module(probe_inputs(task, spec.seed))
    torch.testing.assert_close(outputs, load_file(trained / OUTPUTS)["outputs"])


def test_a_file_changed_before_the_audit_fails_it(spec: TrialSpec, trained: Path) -> None:
    (trained / MODEL).write_bytes((trained / MODEL).read_bytes() + b"\0")
    record = audit_trial(spec, trained)
    assert record["status"] == "failed"
    assert record["reason"] == "audit: model.onnx is no longer the file that was audited"
    assert not record["audit"]["passed"]
    assert finished_record(trained) is None  # it may be the disk's fault: the next run trains it again


def test_a_file_changed_after_the_audit_is_seen(spec: TrialSpec, trained: Path) -> None:
    record = audit_trial(spec, trained)
    (trained / MODEL).unlink()
    assert still_as_audited(trained, record) == "audit: model.onnx is no longer the file that was audited"


def test_another_model_in_the_file_fails_the_audit(spec: TrialSpec, trained: Path, tmp_path: Path) -> None:
    other = TrialSpec(spec.setting, "uniform_width", {"budget": 0.25}, seed=4)
    run_trial(other, tmp_path / "other", lambda done, steps, loss: None)
    edit(trained, MODEL, lambda _: (tmp_path / "other" / MODEL).read_bytes())
    assert audit_trial(spec, trained)["reason"].startswith("audit: the exported file does not compute what")


@pytest.mark.parametrize("factor", [1.1, math.nan])
def test_other_weights_than_those_of_the_file_fail_the_audit(spec: TrialSpec, trained: Path, factor: float) -> None:
    weights = load_file(trained / WEIGHTS)
    save_file({name: factor * tensor for name, tensor in weights.items()}, trained / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    assert "built again from its recipe" in audit_trial(spec, trained)["reason"]


def test_a_file_with_more_weights_than_were_saved_fails_the_audit(spec: TrialSpec, trained: Path) -> None:
    name, tensor = next(iter(load_file(trained / WEIGHTS).items()))
    save_file({name: tensor}, trained / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    assert "are hidden" in audit_trial(spec, trained)["reason"]


def test_a_file_that_nobody_asked_for_fails_the_audit(spec: TrialSpec, trained: Path) -> None:
    (trained / "eval.json").write_text('{"mse_percent": 0.0}')
    assert "not its to write: eval.json" in audit_trial(spec, trained)["reason"]


def test_a_file_that_is_no_model_fails_the_audit(spec: TrialSpec, trained: Path) -> None:
    edit(trained, MODEL, lambda _: b"nonsense")
    assert audit_trial(spec, trained)["reason"].startswith("audit: the model cannot be measured")


def test_a_structure_of_its_own_is_measured_but_not_built_again(spec: TrialSpec, trained: Path) -> None:
    weights = load_file(trained / WEIGHTS)
    save_file({f"own.{name}": tensor for name, tensor in weights.items()}, trained / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    record = audit_trial(spec, trained)
    assert record["status"] == "complete"
    assert not record["audit"]["rebuilt"]


def test_nothing_to_audit_is_said(spec: TrialSpec, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to audit"):
        audit_trial(spec, tmp_path)


def test_a_failed_training_stays_what_it_is(spec: TrialSpec, tmp_path: Path) -> None:
    impossible = TrialSpec(spec.setting, "magnitude_pruning", {"budget": 1e-4}, seed=0)
    run_trial(impossible, tmp_path / "trial", lambda done, steps, loss: None)
    record: dict[str, Any] = audit_trial(impossible, tmp_path / "trial")
    assert record["status"] == "declined"
    assert "audit" not in record
