"""The dense models that post-hoc methods start from: one trunk, and a finished training at each share of the steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.plugins.method import DENSE_SHARES
from bench.plugins.registry import load_method_spec
from bench.trial.compress import train
from bench.trial.dense import start_at, train_dense
from bench.trial.record import TrialFolder
from bench.trial.setting import Setting, TrialSpec
from bench.trial.trainer import Trainer


def quiet(fraction: float, note: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("synthetic", "smoke", cache=str(tmp_path / "cache"))


@pytest.mark.parametrize("others", [DENSE_SHARES, (0.495, 0.5, 0.505)], ids=["of the search", "that leave together"])
def test_a_branch_does_not_depend_on_the_other_shares(tmp_path: Path, others: tuple[float, ...]) -> None:
    settings = [Setting("synthetic", "smoke", cache=str(tmp_path / name)) for name in ("alone", "together")]
    train_dense(settings[1], 0, others, quiet)
    alone, together = (start_at(setting, 0, 0.5, quiet).model.state_dict() for setting in settings)
    assert alone.keys() == together.keys() and len(alone) > 0
    assert all(torch.equal(alone[name], together[name]) for name in alone)


def test_each_share_is_a_training_of_its_own_length(setting: Setting) -> None:
    starts = [start_at(setting, 0, share, quiet) for share in DENSE_SHARES]
    assert [start.steps for start in starts] == [round(share * setting.plan.total_steps) for share in DENSE_SHARES]
    each = {start.train_macs / start.steps for start in starts if start.train_macs}
    assert len(each) == 1  # MACs of a step: nothing is charged for the trunk beyond where the branch leaves it
    assert all(len(start.dev) > 0 for start in starts)


def test_the_trunk_is_trained_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[str] = []

    def fit(self: Trainer, model: nn.Module, steps: int | None = None, **rest: Any) -> None:
        fitted.append(rest["schedule"])
        original(self, model, steps, **rest)

    original = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", fit)
    for _ in range(2):
        train_dense(setting, 0, DENSE_SHARES, quiet)
    assert fitted == ["warm_up", "decay", "decay", "decay"]


@pytest.mark.parametrize("share", [0.25, 0.4])
def test_a_post_hoc_trial_has_the_steps_that_are_left(setting: Setting, tmp_path: Path, share: float) -> None:
    folder = TrialFolder(tmp_path / "trial")
    train(TrialSpec(setting, "magnitude_pruning", {"budget": 0.5, "dense_share": share}, 0), folder, quiet)
    record = folder.trained()
    assert record is not None and record.dense_share == share
    assert record.train_steps == setting.plan.total_steps - round(share * setting.plan.total_steps)
    assert record.total_steps == setting.plan.total_steps


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "1.5", "late"])
def test_a_share_that_is_none_is_refused_before_anything_runs(share: str) -> None:
    with pytest.raises(BenchError, match=r"magnitude_pruning:dense_share=.*outside \(0, 1\)"):
        load_method_spec(f"magnitude_pruning:dense_share={share}")


def test_an_in_training_method_has_no_dense_share() -> None:
    with pytest.raises(BenchError, match="no setting 'dense_share'"):
        load_method_spec("feature_noise:dense_share=0.5")
