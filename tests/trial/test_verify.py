"""What the audit finds in the files that a training process leaves."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.errors import BenchError
from bench.export.model import RECIPE, WEIGHTS, kept_sizes, rebuilt_model
from bench.storage.files import file_digest
from bench.trial.compress import probe_inputs, train
from bench.trial.record import MODEL, TRAINED, TrialFolder, TrialRecord
from bench.trial.setting import Setting, TrialSpec
from bench.trial.verify import OWN_STRUCTURE, audit, changed_model
from bench.widths.cost import count_macs
from tasks.synthetic import Synthetic


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    setting = Setting("synthetic", "smoke", {"problem": "allocation"}, cache=str(tmp_path / "cache"))
    return TrialSpec(setting, "magnitude_pruning", {"budget": 0.5}, seed=3)


def quiet(fraction: float, note: str) -> None:
    """Progress that nobody watches."""


def audited(spec: TrialSpec, folder: TrialFolder) -> TrialRecord:
    return audit(spec, folder, report=quiet)


@pytest.fixture
def trained(spec: TrialSpec, tmp_path: Path) -> TrialFolder:
    folder = TrialFolder(tmp_path / "trial")
    train(spec, folder, report=quiet)
    return folder


def edit(folder: TrialFolder, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file, and the digest that the training process gave of it."""
    (folder.path / name).write_bytes(change((folder.path / name).read_bytes()))
    noted = json.loads((folder.path / TRAINED).read_text())
    noted["files"][name] = file_digest(folder.path / name)
    (folder.path / TRAINED).write_text(json.dumps(noted))


def test_the_training_process_says_nothing_of_quality_or_compute(trained: TrialFolder) -> None:
    said = json.loads((trained.path / TRAINED).read_text())
    assert not {"dev", "macs", "params", "size_bytes", "status", "reason"} & set(said)
    assert set(said["files"]) == {MODEL, WEIGHTS, RECIPE}
    assert not trained.record_path.exists()


def test_an_honest_model_passes_and_is_built_again(spec: TrialSpec, trained: TrialFolder) -> None:
    record = audited(spec, trained)
    assert (record.status, record.reason) == ("complete", "")
    assert record.audit is not None and record.audit.passed and record.audit.rebuilt
    assert record.audit.difference is not None and record.audit.difference < 1e-4
    assert record.size_bytes == trained.model_path.stat().st_size
    assert record.macs_ratio is not None and 0.4 < record.macs_ratio <= 0.5
    assert changed_model(trained, record) == ""
    assert audited(spec, trained) == record == trained.record()  # an audit that was done is not done again


def test_the_rebuilt_module_is_the_trained_one(spec: TrialSpec, trained: TrialFolder) -> None:
    task = spec.setting.build_task()
    module = rebuilt_model(task, trained.path)
    assert module is not None
    assert not module.training
    assert count_macs(module, task.example_input()) <= 0.5 * count_macs(task.build_model(), task.example_input())
    with torch.no_grad():
        outputs = module(probe_inputs(task, spec.seed))
    torch.testing.assert_close(outputs, load_file(trained.outputs_path)["outputs"])


@pytest.mark.parametrize(
    ("method", "settings", "kinds"),
    [
        ("low_rank", {"budget": 0.5}, ["ranks"]),
        ("magnitude_pruning+low_rank", {"budget": 0.7, "low_rank.budget": 0.4}, ["kept_channels", "ranks"]),
        ("low_rank+magnitude_pruning", {"budget": 0.7, "magnitude_pruning.budget": 0.4}, ["ranks", "kept_channels"]),
        ("nested_subspaces:budgets=0.7 0.4", {"budget": 0.4}, ["ranks", "kept_channels"]),
    ],
)
def test_layers_of_low_rank_are_built_again_before_and_after_channels_went(
    spec: TrialSpec, tmp_path: Path, method: str, settings: dict[str, float], kinds: list[str]
) -> None:
    own = TrialSpec(spec.setting, method, settings, seed=3)
    folder, task = TrialFolder(tmp_path / "trial"), own.setting.build_task()
    train(own, folder, report=quiet)
    record = audited(own, folder)
    assert (record.status, record.reason) == ("complete", "") and OWN_STRUCTURE not in (record.notes or [])
    assert record.audit is not None and record.audit.passed and record.audit.rebuilt
    recipe = json.loads((folder.path / RECIPE).read_text())
    steps = [kind for (kind,) in recipe["steps"]]
    assert [kind for kind, _ in itertools.groupby(steps)] == kinds  # several cuts, one after the other
    module = rebuilt_model(task, folder.path)
    assert module is not None and count_macs(module, task.example_input()) == record.macs
    assert not kept_sizes(folder.path)  # these widths alone would cost something else


def test_a_budget_of_bits_is_held_to_the_bit_operations_of_the_file(spec: TrialSpec, tmp_path: Path) -> None:
    own = TrialSpec(spec.setting, "mixed_precision", {"budget": 0.04}, seed=3)
    folder = TrialFolder(tmp_path / "trial")
    train(own, folder, report=quiet)
    said = folder.trained() or TrialRecord()
    record = audited(own, folder)
    assert (record.status, record.promises, record.simulated, record.macs_ratio) == ("complete", "bits", True, 1.0)
    assert record.bops_ratio is not None and 0.95 * 0.04 <= record.bops_ratio <= 0.04
    assert record.objectives(next(iter(record.dev or {}))) == (
        next(iter((record.dev or {}).values())),
        record.bops_ratio,
    )
    folder.record_path.unlink()
    said.budget = 0.035
    folder.write(said)
    assert audited(own, folder).reason == f"asked for 0.035 of the dense compute, delivered {record.bops_ratio:.4f}"


def test_a_recipe_of_an_earlier_version_is_still_followed(spec: TrialSpec, trained: TrialFolder) -> None:
    recipe = json.loads((trained.path / RECIPE).read_text())
    sizes = kept_sizes(trained.path)
    recipe["kept_channels"] = [step["kept_channels"] for step in recipe.pop("steps")]
    edit(trained, RECIPE, lambda _: json.dumps(recipe).encode())
    record = audited(spec, trained)
    assert record.audit is not None and record.audit.rebuilt and record.notes == []
    assert sizes and kept_sizes(trained.path) == sizes


def test_a_file_changed_before_the_audit_fails_it(spec: TrialSpec, trained: TrialFolder) -> None:
    trained.model_path.write_bytes(trained.model_path.read_bytes() + b"\0")
    record = audited(spec, trained)
    assert record.status == "failed"
    assert record.reason == "audit: model.onnx is no longer the file that was audited"
    assert record.audit is not None and not record.audit.passed
    assert trained.finished("eer_percent") is None  # it may be the disk's fault: the next run trains it again


def test_a_file_changed_after_the_audit_is_seen(spec: TrialSpec, trained: TrialFolder) -> None:
    record = audited(spec, trained)
    trained.model_path.unlink()
    assert changed_model(trained, record) == "audit: model.onnx is no longer the file that was audited"


def test_another_model_in_the_file_fails_the_audit(spec: TrialSpec, trained: TrialFolder, tmp_path: Path) -> None:
    other = TrialFolder(tmp_path / "other")
    train(TrialSpec(spec.setting, "uniform_width", {"budget": 0.25}, seed=4), other, report=quiet)
    edit(trained, MODEL, lambda _: other.model_path.read_bytes())
    assert audited(spec, trained).reason.startswith("audit: the exported file does not compute what")


@pytest.mark.parametrize("factor", [1.1, math.nan])
def test_other_weights_than_those_of_the_file_fail_the_audit(
    spec: TrialSpec, trained: TrialFolder, factor: float
) -> None:
    weights = load_file(trained.path / WEIGHTS)
    save_file({name: factor * tensor for name, tensor in weights.items()}, trained.path / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    assert "built again from its recipe" in audited(spec, trained).reason


def test_a_file_with_more_weights_than_were_saved_fails_the_audit(spec: TrialSpec, trained: TrialFolder) -> None:
    name, tensor = next(iter(load_file(trained.path / WEIGHTS).items()))
    save_file({name: tensor}, trained.path / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    assert "are hidden" in audited(spec, trained).reason


class Shifted(nn.Module):
    """A buffer that is computed again wherever the module is built: (B, features) -> (B, features)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, 16), nn.Linear(16, features)
        self.register_buffer("table", torch.linspace(0, 1, 16), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second((self.first(x) + self.table).relu())


def test_a_buffer_that_is_not_stored_is_not_hidden(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Synthetic, "build_model", lambda task: Shifted(task.example_input().shape[1]))
    folder = TrialFolder(tmp_path / "own")
    train(spec, folder, report=quiet)
    record = audited(spec, folder)
    assert (record.status, record.reason) == ("complete", "")
    assert record.audit is not None and record.audit.rebuilt and "table" not in load_file(folder.path / WEIGHTS)


def test_a_file_that_nobody_asked_for_fails_the_audit(spec: TrialSpec, trained: TrialFolder) -> None:
    trained.write_eval_scores({"mse_percent": 0.0})
    assert "not its to write: eval.json" in audited(spec, trained).reason


def test_the_draft_of_an_audit_that_was_killed_is_no_such_file(spec: TrialSpec, trained: TrialFolder) -> None:
    (trained.path / ".trial.json.123.draft").write_text("{")
    assert audited(spec, trained).status == "complete"


def test_a_file_that_is_no_model_fails_the_audit(spec: TrialSpec, trained: TrialFolder) -> None:
    edit(trained, MODEL, lambda _: b"nonsense")
    assert audited(spec, trained).reason.startswith("audit: the model cannot be measured")


def test_a_task_that_does_not_give_its_metric_fails_the_audit(
    spec: TrialSpec, trained: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(spec.setting.build_task())
    monkeypatch.setattr(kind, "evaluate", lambda *_: {"another": 1.0})
    assert "gives no 'mse_percent': another" in audited(spec, trained).reason


def test_a_structure_of_its_own_is_measured_but_not_built_again(spec: TrialSpec, trained: TrialFolder) -> None:
    weights = load_file(trained.path / WEIGHTS)
    save_file({f"own.{name}": tensor for name, tensor in weights.items()}, trained.path / WEIGHTS)
    edit(trained, WEIGHTS, lambda content: content)
    record = audited(spec, trained)
    assert record.status == "complete"
    assert record.audit is not None and record.audit.rebuilt is False
    assert record.notes == [OWN_STRUCTURE] == (trained.record() or record).notes


@pytest.mark.parametrize(
    "step", [{"ranks": {"students.9": 2}}, {"kept_channels": {"students.0.0.0": [0]}}, {"ranks": {"students.0.0": 1}}]
)
def test_steps_that_do_not_fit_the_model_do_not_build_it(
    spec: TrialSpec, trained: TrialFolder, step: dict[str, dict[str, object]]
) -> None:
    recipe = json.loads((trained.path / RECIPE).read_text())
    edit(trained, RECIPE, lambda _: json.dumps({**recipe, "steps": [*recipe["steps"], step]}).encode())
    record = audited(spec, trained)
    assert record.status == "complete" and record.notes == [OWN_STRUCTURE]


@pytest.mark.parametrize("content", [None, "", "[]", '{"train_steps": "many"}'])
def test_nothing_to_audit_is_said(spec: TrialSpec, tmp_path: Path, content: str | None) -> None:
    folder = TrialFolder(tmp_path)
    if content is not None:
        (tmp_path / TRAINED).write_text(content)
    assert not folder.awaits_audit
    with pytest.raises(BenchError, match="nothing to audit"):
        audited(spec, folder)


def test_a_failed_training_stays_what_it_is(spec: TrialSpec, tmp_path: Path) -> None:
    impossible, folder = TrialSpec(spec.setting, "magnitude_pruning", {"budget": 1e-4}, seed=0), TrialFolder(tmp_path)
    train(impossible, folder, report=quiet)
    record = audited(impossible, folder)
    assert record.status == "declined"
    assert record.audit is None
