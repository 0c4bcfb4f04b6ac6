from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import Batch, BenchError, ItemScores, Split
from bench.check import check_task
from bench.trial.trainer import Trainer
from tasks._speech.snr import range_names
from tasks.vad import Vad
from tasks.vad.models import MODELS
from tasks.vad.scoring import error_rates
from tests.tasks.vad_folders import write_esc50, write_vctk


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Vad:
    task = Vad.at("smoke", cache=tmp_path_factory.mktemp("cache"))
    task.prepare(1, lambda fraction, note: None)
    return task


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("real")
    return {"data": str(write_vctk(root / "vctk")), "noise": str(write_esc50(root / "esc50"))}


def rates_of(task: Vad, model: torch.nn.Module, split: Split) -> dict[str, float]:
    with torch.no_grad():
        return task.evaluate(model.eval(), split)


@pytest.mark.parametrize("model", MODELS)
def test_both_models_hold_to_the_contract(task: Vad, model: str) -> None:
    assert list(check_task(replace(task, model=model)))


@pytest.mark.parametrize("preset", Vad.presets)
@pytest.mark.parametrize("model", MODELS)
def test_every_preset_is_right_for_every_model(preset: str, model: str) -> None:
    task = Vad.at(preset, model=model)
    task.check()
    assert task.example_input().shape == (1, 80, 100)
    with torch.no_grad():
        assert task.build_model()(task.example_input()).shape[:2] in ((1, 98), (1, 100))


def test_the_paper_preset_has_the_models_of_the_paper() -> None:
    counts = {m: sum(p.numel() for p in Vad.at("paper", model=m).build_model().parameters()) for m in MODELS}
    assert counts == {"crnn": 673_873, "transformer": 138_082, "causal": 138_082}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "rnn"}, "vad has no model 'rnn'; there are: crnn, transformer, causal"),
        ({"size": "huge"}, "vad has no size 'huge' .*: tiny, small, medium, paper"),
        ({"snr_ranges_db": ()}, "expected ranges in dB"),
        ({"crop_frames": 500}, "Crops of 500 frames cannot be cut from files of 400 frames"),
        ({"mixtures": (10, 0, 10)}, r"mixtures is \(10, 0, 10\): expected how many"),
        ({"speakers": 2}, "2 speakers with 10 utterances"),
        ({"noise": "somewhere"}, "embedded data has noise and alignment of its own: leave out"),
        ({"data": "/nowhere"}, "Speech from /nowhere needs noise: .* ESC-50"),
        ({"data": "/nowhere", "noise": "/here"}, "/nowhere does not exist: expected the folder that holds wav48"),
    ],
)
def test_mistakes_are_said_before_any_work(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        replace(Vad(), **fields).check()


def test_mistakes_in_folders_are_said_before_any_work(real: dict[str, str], tmp_path: Path) -> None:
    Vad(**real).check()
    with pytest.raises(BenchError, match=r"is no ESC-50 corpus: it has no meta/esc50\.csv"):
        replace(Vad(**real), noise=str(tmp_path)).check()
    with pytest.raises(BenchError, match="lacks 8 of 8 files"):
        replace(Vad(**real), alignment=str(tmp_path)).check()


def test_real_folders_serve_the_same_task(real: dict[str, str], tmp_path: Path) -> None:
    notes: list[str] = []
    fractions: list[float] = []

    def progress(fraction: float, note: str) -> None:
        fractions.append(fraction)
        notes.append(note)

    task = Vad(**real, size="tiny", mixtures=(16, 8, 8), seconds=3.0, crop_frames=50, cache=tmp_path)
    task.check()
    digest = task.prepare(1, progress)
    assert fractions == sorted(fractions)
    assert set(notes) == {"mixing speech and noise (resampled from 44.1 and 48 to 16 kHz)"}
    assert next(iter(rates_of(task, task.build_model(), "eval"))) == "eer_percent"
    assert digest == replace(task, size="small").prepare(1, progress)
    assert digest != replace(task, corpus_seed=1).prepare(1, progress)


def test_a_smoke_model_learns_something(task: Vad) -> None:
    """Loud frames are speech more often than not: so much can be seen in sixty steps."""
    torch.manual_seed(0)
    task = replace(task, model="crnn")
    model = task.build_model()
    trainer = Trainer(task, replace(Vad.presets["quick"], batch_size=16), steps=60, seed=0, dense_macs=1)
    before = rates_of(task, model, "dev")["eer_percent"]
    trainer.fit(model)
    after = rates_of(task, model, "dev")["eer_percent"]
    assert after < 0.7 * before


def test_perfect_scores_have_no_errors_at_either_length(task: Vad) -> None:
    """A model that knows the labels is right although it returns two frames fewer; one frame off, it is not."""
    labels = torch.from_numpy(np.array(task._features("dev").labels)).float()
    given = [labels]  # what has not been asked for yet

    def knows(inputs: Tensor, lost: int = 2, shift: int = 0) -> Tensor:
        truth, given[0] = given[0][: len(inputs)], given[0][len(inputs) :]
        start = lost // 2 + shift
        return truth[:, start : truth.shape[1] - lost + start, None]

    assert task.evaluate(knows, "dev")["eer_percent"] == 0
    given[0] = labels
    assert task.evaluate(lambda inputs: knows(inputs, shift=1), "dev")["eer_percent"] > 0


def test_loss_is_low_where_labels_are_met(task: Vad) -> None:
    targets = (torch.arange(20) > 9).float()[None]

    class Says(torch.nn.Module):
        def __init__(self, logits: Tensor) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, inputs: Tensor) -> Tensor:
            return self.logits

    right = (targets[:, 1:-1, None] - 0.5) * 20
    batch = Batch(torch.zeros(1, 80, 20), targets)
    assert task.loss(Says(right), batch) < 1e-3
    assert task.loss(Says(-right), batch) > 5
    assert task.loss(Says(torch.cat([-right, right], 2)), batch) < 1e-3


def test_ranges_are_named_by_their_inner_edges() -> None:
    assert range_names(Vad().snr_ranges_db) == ["<5 dB", "5-15 dB", "15-25 dB", ">=25 dB"]
    assert range_names(((0, 10.5),)) == ["0-10.5 dB"]


def test_ranges_without_both_classes_are_left_out() -> None:
    labels = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 1]], bool)
    scores = np.where(labels, 1.0, 0.0)
    scores[2] = 1 - scores[2]
    ranges = np.array([0, 1, 3]).repeat(4)
    frames = ItemScores(scores.ravel(), labels.ravel(), np.arange(3).repeat(4))
    rates = error_rates(frames, ranges, ["a", "b", "c", "d"], "eer")
    assert list(rates) == ["eer/a", "eer/d"]
    assert (rates["eer/a"], rates["eer/d"]) == (0, 100)


def test_breakdown_of_the_real_thing(task: Vad) -> None:
    torch.manual_seed(0)
    rates = rates_of(task, task.build_model(), "eval")
    names = ["eer_percent", *(f"eer_percent/{name}" for name in range_names(task.snr_ranges_db))]
    assert list(rates) == names
    assert Vad.metric.column == "eer_percent" and Vad.input_width_axis == 1


def test_frames_of_a_mixture_are_one_unit(task: Vad) -> None:
    torch.manual_seed(0)
    model = task.build_model().eval()
    with torch.no_grad():
        items = task.item_scores(model, "eval")
    mixtures = len(task._features("eval").labels)
    assert np.array_equal(np.unique(items.units), np.arange(mixtures))
    assert len(set(np.bincount(items.units))) == 1
    assert task.summary(items, "eval") == rates_of(task, model, "eval")
