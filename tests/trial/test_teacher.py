"""With distillation every model but the dense one learns from its seed's dense model, and the teacher is paid for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Batch, MethodError, Trainer, soft_divergence
from bench.trial.compress import train
from bench.trial.dense import DECAY, start_at
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.setting import Setting, TrialSpec
from bench.trial.teacher import WEIGHT, Teacher
from bench.widths.cost import count_macs
from tests.models import Points
from tests.trial.test_dense import quiet

TASK = Points(hidden=32, batch_size=16)


def test_the_divergence_is_that_of_softened_classes() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(5, 3, 4), torch.randn(5, 3, 4)
    p, q = (other / 2).softmax(1), (one / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(soft_divergence(one, other), expected)
    assert float(soft_divergence(one, one)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_that_of_the_task_and_the_distance_to_the_teacher_in_one_pass() -> None:
    torch.manual_seed(0)
    student, master = TASK.build_model(), TASK.build_model()
    batch, passes = next(TASK.batches("train", 0)), []
    student.register_forward_hook(lambda *_: passes.append(1))
    found, outputs = Teacher(TASK, master).loss_and_outputs(student, batch)
    assert len(passes) == 1 and len(student._forward_hooks) == 1
    with torch.no_grad():
        distance = (student(batch.inputs) - master(batch.inputs)).square().mean()
        expected = (1 - WEIGHT) * TASK.loss(student, batch) + WEIGHT * distance
        torch.testing.assert_close(outputs.detach(), student(batch.inputs))
    torch.testing.assert_close(found.detach(), expected)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in master.parameters()) and all(p.grad is not None for p in student.parameters())


def test_a_loss_that_does_not_call_the_model_cannot_be_distilled() -> None:
    class Roundabout(Points):
        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            return functional.cross_entropy(nn.Sequential(*model.children())(batch.inputs), batch.targets)

    teacher = Teacher(Roundabout(hidden=32), TASK.build_model())
    with pytest.raises(MethodError, match="Roundabout does not call its model"):
        teacher.loss_and_outputs(TASK.build_model(), next(TASK.batches("train", 0)))


@pytest.mark.parametrize("effort", ["steps", "macs"])
def test_a_step_costs_three_passes_of_the_student_and_one_of_the_teacher(effort: str) -> None:
    dense, small = TASK.build_model(), Points(hidden=8, batch_size=16).build_model()
    macs, own = (count_macs(model, TASK.example_input()) for model in (dense, small))
    teacher = Teacher(TASK, dense)
    run = Trainer(TASK, TASK.presets["quick"], steps=40, seed=0, dense_macs=macs, effort=effort, teacher=teacher)  # type: ignore[arg-type]
    run.fit(small)
    assert run.macs_done == run.steps_done * 16 * (3 * own + macs)
    assert run.steps_done == (40 if effort == "steps" else round(40 * 3 * macs / (3 * own + macs)))


def trained(setting: Setting, folder: Path, method: str, **settings: float) -> TrialRecord:
    train(TrialSpec(setting, method, settings, 0), TrialFolder(folder), quiet)
    found = TrialFolder(folder).trained()
    assert found is not None
    return found


def test_the_teacher_is_the_dense_model_and_charged_as_far_as_a_method_has_not_paid_for_it(tmp_path: Path) -> None:
    plain = Setting("synthetic", "smoke", cache=str(tmp_path / "cache"))
    setting = replace(plain, distill=True)
    teacher = start_at(plain, 0, 1.0, quiet)
    assert teacher.train_macs
    made = sorted((tmp_path / "cache").glob("dense-*"))
    fresh = trained(setting, tmp_path / "gates", "stochastic_gates", budget=0.5)
    assert sorted((tmp_path / "cache").glob("dense-*")) == made  # the one that comparisons without it have, too
    assert (fresh.teacher_train_macs, fresh.teacher_cpu_s) == (teacher.train_macs, teacher.train_cpu_s)
    after = trained(setting, tmp_path / "magnitude", "magnitude_pruning", budget=0.5)
    assert after.start_train_macs and after.teacher_train_macs
    assert after.teacher_train_macs == round(teacher.train_macs - (1 - DECAY) * after.start_train_macs)
    dense = trained(setting, tmp_path / "dense", "dense")
    alone = trained(plain, tmp_path / "alone", "dense")
    assert dense.teacher_train_macs is None
    assert (dense.train_macs, dense.curve) == (alone.train_macs, alone.curve)


def test_trials_with_and_without_it_are_kept_apart(tmp_path: Path) -> None:
    setting = Setting("synthetic", "smoke", cache=str(tmp_path))
    keys = {TrialSpec(replace(setting, distill=on), "uniform_width", {"budget": 0.5}, 0).key for on in (False, True)}
    assert len(keys) == 2
