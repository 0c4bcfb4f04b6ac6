"""Speech recognition: the contract, the networks, the loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench import BenchError, Widths, count_macs
from bench.check import check_task
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from tasks.asr import MODELS, Asr
from tasks.asr.embedded import write_one
from tasks.asr.models import Positions
from tasks.asr.vocabulary import PHONES


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Asr:
    task = Asr.at("smoke", cache=tmp_path_factory.mktemp("cache"), utterances=(24, 9, 9), speakers=(3, 3, 3))
    task.prepare(1, lambda fraction, note: None)
    return task


@pytest.mark.parametrize("model", MODELS)
def test_both_models_hold_to_the_contract(task: Asr, model: str) -> None:
    assert list(check_task(replace(task, model=model)))


@pytest.mark.parametrize("preset", ["smoke", "quick", "full"])
@pytest.mark.parametrize("model", MODELS)
def test_every_preset_is_right_for_every_model(preset: str, model: str) -> None:
    task = Asr.at(preset, model=model)
    task.check()
    with torch.no_grad():
        outputs = task.build_model()(task.timed_inputs()["utterance"])
    assert outputs.shape == (1, PHONES.classes, -(-int(100 * task.seconds) // 4))


def test_the_paper_preset_is_right() -> None:
    Asr.at("paper").check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "rnn"}, "asr has no model 'rnn'; there are: transformer, conformer"),
        ({"decoder": "best"}, "asr has no decoder 'best'; there are: greedy, beam"),
        ({"width": 50}, "width is 50, expected an even multiple of heads, which is 4"),
        ({"width": 0}, "width is 0, expected 1 to 10000"),
        ({"seconds": 0.5}, r"recordings of 0\.5 s, expected 1 to 100 s"),
        ({"snr_ranges_db": ((5, 0),)}, "expected ranges from low to high"),
        ({"words": (3, 1)}, r"Utterances of \(3, 1\) words"),
        ({"speakers": (0, 1, 1)}, "3000 utterances of 0 speakers in train"),
    ],
)
def test_mistakes_are_said_before_any_work(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        replace(Asr(), **fields).check()


def macs(task: Asr, frames: int) -> int:
    """Kernel x inputs x outputs x positions of every layer."""
    d, half, quarter = task.width, -(-frames // 2), -(-frames // 4)
    subsampling = 5 * d * (task.bands * half + 2 * d * quarter)
    attention = quarter * 4 * d * d + 2 * quarter * quarter * d
    feedforward = 2 * quarter * 4 * d * d
    layer = attention + feedforward
    if task.model == "conformer":
        layer += feedforward + quarter * (3 * d * d + 15 * d)
    return subsampling + task.layers * layer + quarter * d * PHONES.classes


@pytest.mark.parametrize("model", MODELS)
def test_macs_are_those_of_the_formula_in_the_module_and_in_the_file(model: str) -> None:
    task = Asr(model=model)
    network, example = task.build_model().eval(), task.example_input()
    exported = export_onnx(network, example)
    assert count_macs(network, example) == macs(task, 100) == file_costs(exported, (1, 40, 100)).macs
    inputs = torch.randn(3, 40, 163)
    with torch.no_grad():
        torch.testing.assert_close(Predictor(exported)(inputs), network(inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_removal_does_what_gating_does(model: str) -> None:
    torch.manual_seed(0)
    task = Asr.at("smoke", model=model, layers=2)
    widths = Widths(task.build_model().eval(), task.example_input(), input_axis=1)
    heads = {group.name for group in widths.groups if group.name.endswith("heads")}
    assert len(heads) == 2 and {"input", "subsampling.layers.2.0"} <= {group.name for group in widths.groups}
    generator = torch.Generator().manual_seed(1)
    kept = {g.name: torch.randperm(g.size, generator=generator)[: -(-2 * g.size // 3)] for g in widths.groups}
    small = widths.keep(kept).eval()
    inputs = torch.randn(2, 16, 120, generator=generator)
    with torch.no_grad(), widths.mask(kept):
        torch.testing.assert_close(small(inputs), widths.model(inputs), atol=1e-5, rtol=1e-5)


def test_positions_follow_the_width_of_the_model() -> None:
    task = Asr.at("smoke")
    widths = Widths(task.build_model(), task.example_input())
    stream = next(g for g in widths.groups if any(part.tensor == "positions.table" for part in g.parts))
    assert stream.size == task.width
    small = widths.keep({stream.name: torch.arange(0, task.width, 2)})
    table = small.get_submodule("positions").table  # the sines
    torch.testing.assert_close(table, Positions(task.width, 30).table[:, ::2])


def test_the_loss_is_that_of_transcripts_of_their_own_lengths(task: Asr) -> None:
    batch = next(task.batches("train", 0))
    model = task.build_model().eval()
    likelihoods = model(batch.inputs).log_softmax(1).permute(2, 0, 1)
    each = [
        functional.ctc_loss(likelihoods[:, i : i + 1], target[target >= 0][None], [30], [int((target >= 0).sum())])
        for i, target in enumerate(batch.targets)
    ]
    assert task.loss(model, batch).item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
    assert len({int((target >= 0).sum()) for target in batch.targets}) > 1


def test_words_that_are_heard_as_they_are_said_have_no_errors(task: Asr) -> None:
    features, said = task._features("dev"), {}
    for batch in task.batches("dev", 0):
        for inputs, target in zip(batch.inputs, batch.targets, strict=True):
            path = [0] * 60
            path[1 : 2 * len(target) : 2] = target.clamp(min=0).tolist()  # a blank between any two
            said[inputs.sum().item()] = functional.one_hot(torch.tensor(path), PHONES.classes).float().T

    def right(inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([said[own.sum().item()] for own in inputs])

    scores = task.evaluate(right, "dev")
    names = ["", *(f"/{name}" for name in ("<20 dB", "20-30 dB", ">=30 dB"))]
    assert [*scores] == [f"{rate}_percent{name}" for rate in ("wer", "per") for name in names]
    assert {*scores.values()} == {0.0}
    mute = task.item_scores(lambda x: torch.eye(1, PHONES.classes)[:, :, None].repeat(len(x), 1, 30), "dev")
    assert mute.headline == 100 and mute.unit_rate(np.ones(len(features), bool)) == 100


def test_an_utterance_is_the_same_whatever_is_made_before_it(task: Asr, tmp_path: Path) -> None:
    for index in (5, 2):
        task._spec.chapter(tmp_path, 1, index).mkdir(parents=True, exist_ok=True)
        write_one(tmp_path, task._spec, (1, index))
    made = {path.name: path.read_bytes() for path in tmp_path.rglob("*.flac")}
    kept = {path.name: path for path in task.cache.rglob("*.flac")}  # by a process of its own
    assert len(made) == 2 and all(kept[name].read_bytes() == content for name, content in made.items())
