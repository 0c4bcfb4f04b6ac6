"""Synapse detection: tissue, tiles, counts of voxels and clefts, and both models."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from bench import BenchError, Widths, average_precision, count_macs
from bench.check import check_task
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from tasks.synapses import Synapses
from tasks.synapses.scoring import LEVELS, counted, f1_by_level, items_of, levels_of, matched
from tasks.synapses.tiles import log_odds, tiles_of, training_batches
from tasks.synapses.tissue import make_volume
from tasks.synapses.unet import MODELS
from tasks.synapses.volumes import Tissue, Volume, load
from tests.widths.test_widths import close, inputs, masks, random_choice


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Synapses:
    task = Synapses.at("smoke", cache=tmp_path_factory.mktemp("cache"))
    task.prepare(1, lambda fraction, note: None)
    return task


@pytest.mark.parametrize("model", [name for name in MODELS if name != Synapses.model])  # that one: tests/check
def test_the_other_model_holds_to_the_contract(task: Synapses, model: str) -> None:
    assert list(check_task(replace(task, model=model)))


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("model", MODELS)
def test_models_are_cut_counted_and_exported_rightly(model: str, size: str) -> None:
    torch.manual_seed(0)
    net = Synapses(model=model, size=size).build_model().eval()
    widths = Widths(net, torch.randn(1, 1, 4, 16, 16))
    assert not widths.fixed
    kept = random_choice(widths, 1)
    small, x = widths.keep(kept), inputs(widths, 2)
    file = export_onnx(small, widths.example_input)
    with torch.no_grad(), widths.gate(masks(widths, kept)):
        gated = net(x)
    with torch.no_grad():
        assert close(small(x), gated)
        assert float((Predictor(file)(x) - small(x)).abs().max()) < 1e-4
    macs = count_macs(small, widths.example_input)
    assert macs == widths.macs({n: len(own) for n, own in kept.items()})
    assert macs == file_costs(file, (1, 1, 4, 16, 16)).macs


@pytest.mark.parametrize("preset", Synapses.presets)
@pytest.mark.parametrize("model", MODELS)
def test_every_preset_is_right_for_every_model(preset: str, model: str) -> None:
    task = Synapses.at(preset, model=model)
    task.check()
    assert task.example_input().shape == (1, 1, *task.crop)
    assert task.build_model()(torch.zeros(1, 1, 2, 32, 32)).shape == (1, 1, 2, 32, 32)


def test_volumes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    tissue = Tissue(3, (4, 40, 48), (2, 1, 1), (1, 1, 1))
    for workers in (1, 3):
        (tmp_path / str(workers)).mkdir()
        tissue.write(tmp_path / str(workers), workers, lambda done: None)
    one, three = (load(tmp_path / str(workers), "train") for workers in (1, 3))
    assert len(one) == 2
    assert all(
        np.array_equal(a.grey, b.grey) and np.array_equal(a.clefts, b.clefts) for a, b in zip(one, three, strict=True)
    )
    assert not np.array_equal(one[0].grey, one[1].grey)


def test_darkness_alone_is_far_from_finding_clefts() -> None:
    """What a threshold on the grey values reaches, as they are or smoothed, after sections are made equally bright.

    The dense model of ``quick`` has 85 % on eval, where darkness has 45 %; here a few volumes have more clefts.
    """
    made = [make_volume(np.random.default_rng([9, number]), (10, 96, 96)) for number in range(4)]
    labels = np.concatenate([clefts.ravel() for _, clefts in made])
    assert 0.005 < labels.mean() < 0.08
    for sigma in (0.0, 1.5, 4.0):
        dark = [ndimage.gaussian_filter(np.median(g, (1, 2), keepdims=True) - g, (0, sigma, sigma)) for g, _ in made]
        assert average_precision(np.concatenate([d.ravel() for d in dark]), labels) < 60


def test_training_crops_hold_clefts_and_targets_lie_where_they_are() -> None:
    clefts = np.zeros((6, 40, 40), bool)
    clefts[2, 5:8, 30:36] = True
    volume = Volume((clefts * 255).astype(np.uint8), clefts)
    batches = training_batches([volume], 4, (3, 16, 16), seed=1)
    for _ in range(10):
        batch = next(batches)
        assert batch.inputs.shape == batch.targets.shape == (4, 1, 3, 16, 16)
        assert torch.equal(batch.inputs, 2 * batch.targets - 1)
        assert batch.targets[1::2].flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("shape", "tile"), [((6, 48, 48), (6, 32, 32)), ((14, 112, 100), (8, 64, 64)), ((8, 9, 9), (8, 9, 9))]
)
def test_tiles_cover_a_volume_and_overlap(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> None:
    seen = np.zeros(shape, int)
    for at in tiles_of(shape, tile):
        assert seen[at].shape == tile
        seen[at] += 1
    assert seen.min() == 1 and (shape == tile) == (seen.max() == 1)
    volume = Volume(np.random.default_rng(0).integers(0, 256, shape, np.uint8), np.zeros(shape, bool))
    np.testing.assert_allclose(log_odds(lambda x: x, volume, tile), volume.grey / 127.5 - 1, atol=1e-5)


def test_the_cells_score_as_the_voxels_that_they_count() -> None:
    draw = np.random.default_rng(0)
    clefts = draw.random((4, 100, 90)) < 0.1
    odds = (draw.normal(size=clefts.shape) * 3 + 4 * clefts - 4).astype(np.float32)
    levels = levels_of(odds)
    counts = counted([(levels, clefts), (levels[:, :40], clefts[:, :40])])
    assert counts.shape == (4 + 2, LEVELS, 2) and counts.sum() == clefts.size * 1.4
    items = items_of(counts[:4], 0, (0, 0, 0))
    expected = average_precision(levels.ravel(), clefts.ravel().astype(int))
    assert items.headline == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(average_precision(odds.ravel(), clefts.ravel().astype(int)), abs=0.3)
    said = levels >= 120
    f1 = 200 * (said & clefts).sum() / (said.sum() + clefts.sum())
    assert f1_by_level(counts[:4])[120] == pytest.approx(f1)


def test_clefts_are_found_one_by_one() -> None:
    clefts, said = np.zeros((2, 3, 20, 60), bool)
    clefts[:, 2:8, 2:8] = clefts[:, 2:8, 20:26] = clefts[:, 2:8, 40:46] = True
    assert matched(said, clefts) == (0, 0, 3)
    said[:, 4:6, 4:6] = said[:, 12:16, 30:36] = said[0, 2:4, 20:22] = True  # found, wrong, too small
    assert matched(said, clefts) == (1, 2, 3)
    assert matched(np.ones_like(said), clefts) == (1, 1, 3)
    assert matched(said, np.zeros_like(said)) == (0, 2, 0)


def test_the_threshold_is_chosen_on_dev(task: Synapses, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(x: Tensor) -> Tensor:
        return -4 * x

    dev, evaluated = (task.item_scores(predict, split) for split in ("dev", "eval"))  # type: ignore[arg-type]
    counts = np.asarray(dev.weights).reshape(-1, LEVELS, 2)
    assert dev.threshold == evaluated.threshold == f1_by_level(counts).argmax()
    scores = task.evaluate(predict, "eval")
    assert list(scores) == [f"pr_auc_percent{part}" for part in ("", "/F1 of voxels", "/F1 of clefts")]
    assert scores["pr_auc_percent"] == pytest.approx(evaluated.headline)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "vnet"}, "synapses has no model 'vnet'; there are: unet, residual"),
        ({"size": "huge"}, "synapses has no size 'huge' .*: tiny, small, medium, paper"),
        ({"crop": (8, 30, 32)}, "8 x 30 x 32 voxels cannot be halved 3 times: rows and columns must be multiples of 8"),
        ({"shape": (4, 112, 112)}, r"shape is \(4, 112, 112\): expected at least the crop, \(6, 48, 48\)"),
        ({"crop": (0, 32, 32)}, r"crop is \(0, 32, 32\): expected sections, rows and columns, 1 at least of each"),
        ({"voxel_nm": (0.0, 8.0, 8.0)}, r"voxel_nm is \(0.0, 8.0, 8.0\): expected thickness, height and width in nm"),
        ({"voxel_nm": (40.0, math.nan, 8.0)}, "voxel_nm is .*: expected thickness, height and width in nm"),
        ({"corpus_seed": -1}, "corpus_seed is -1: expected a whole number from 0 to 4294967295"),
        ({"volumes": (1, 0, 1)}, r"volumes is \(1, 0, 1\): expected how many in train, dev and eval"),
        ({"volumes": (9**9, 1, 1)}, "expected at most 1000000000"),
        ({"data": "/nowhere"}, "/nowhere does not exist: expected a file of CREMI's"),
    ],
)
def test_mistakes_are_said_before_any_work(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        replace(Synapses(), **fields).check()
