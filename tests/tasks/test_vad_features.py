from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import BenchError
from tasks._speech.filterbank import Normaliser
from tasks.vad.batches import scored_batches, training_batches
from tasks.vad.features import HOP, FeatureSplit, filterbank, prepare_features
from tasks.vad.mixing import MixSpec, mix
from tasks.vad.sources import Folders
from tests.tasks.vad_folders import write_esc50, write_vctk

SPEC = MixSpec("train", 9, 2.0, ((0, 10), (20, 30)), seed=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("real")
    return Folders(write_vctk(root / "vctk"), write_esc50(root / "esc50"))


@pytest.fixture(scope="module")
def features(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> FeatureSplit:
    return prepare(folders, tmp_path_factory.mktemp("cache"))


def prepare(folders: Folders, cache: Path, workers: int = 1, bands: int = 40) -> FeatureSplit:
    return prepare_features(lambda: folders.read("train", 0), {"a": 1}, SPEC, bands, cache, workers=workers)


def test_each_mixture_has_its_features_and_labels(folders: Folders, features: FeatureSplit) -> None:
    assert len(features) == 9
    assert features.frames.shape == (9, 200, 40)
    assert features.frames.dtype == np.float16
    assert not features.frames.flags.writeable
    assert features.ranges.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    mixture = mix(folders.read("train", 0), SPEC, 4)
    np.testing.assert_array_equal(features.frames[4], filterbank(40)(mixture.samples))
    np.testing.assert_array_equal(features.labels[4], mixture.active[::HOP])


def test_labels_are_in_step_with_the_features(features: FeatureSplit) -> None:
    """At 20 dB and more, the loudness of a frame is its label; one frame later it fits worse."""
    loud = features.frames[1::2].astype(np.float64).mean(2)
    loud = (loud - loud.mean(1, keepdims=True)) / loud.std(1, keepdims=True)
    labels = features.labels[1::2] - 0.5
    at = {lag: float((loud[:, 5:-5] * np.roll(labels, lag, 1)[:, 5:-5]).mean()) for lag in (-2, 0, 2)}
    assert at[0] > at[-2] and at[0] > at[2]


def test_threads_change_nothing(folders: Folders, features: FeatureSplit, tmp_path: Path) -> None:
    four = prepare(folders, tmp_path, workers=4)
    np.testing.assert_array_equal(four.frames, features.frames)
    np.testing.assert_array_equal(four.labels, features.labels)


def test_features_are_made_once_and_named_by_what_made_them(folders: Folders, tmp_path: Path) -> None:
    prepare(folders, tmp_path)

    def gone() -> None:
        raise AssertionError("asked for the sources again")

    prepare_features(gone, {"a": 1}, SPEC, 40, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        prepare_features(gone, {"a": 2}, SPEC, 40, tmp_path)  # type: ignore[arg-type]
    prepare(folders, tmp_path, bands=20)
    assert len(list(tmp_path.iterdir())) == 2


def test_resampling_is_said(folders: Folders, tmp_path: Path) -> None:
    notes: set[str] = set()
    prepare_features(
        lambda: folders.read("train", 0), {}, SPEC, 40, tmp_path, progress=lambda fraction, note: notes.add(note)
    )
    assert notes == {"mixing speech and noise (resampled from 44.1 and 48 to 16 kHz)"}


def test_damaged_audio_is_named_and_leaves_no_cache(tmp_path: Path) -> None:
    folders = Folders(write_vctk(tmp_path / "v"), write_esc50(tmp_path / "e"))
    for path in (tmp_path / "v").rglob("*.flac"):
        path.write_bytes(b"fLaC, but no more")
    with pytest.raises(BenchError, match=r"p\d+_\d+_mic1\.flac cannot be read: expected FLAC"):
        prepare(folders, tmp_path / "cache", workers=2)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_bands_are_mel_bands(hertz: float) -> None:
    samples = (0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)).astype(np.float32)
    frames = filterbank(80)(samples)
    assert frames.shape == (100, 80)
    mel = 2595 * np.log10(1 + np.array([hertz, 8000]) / 700)
    assert abs(frames[50].argmax() - (mel[0] / mel[1] * 81 - 1)) <= 1


def test_training_set_is_normalised(features: FeatureSplit) -> None:
    normal = Normaliser(features.frames)(features.frames)
    assert normal.shape == (9, 40, 200)
    torch.testing.assert_close(normal.mean((0, 2)), torch.zeros(40), atol=1e-3, rtol=0)
    torch.testing.assert_close(normal.std((0, 2)), torch.ones(40), atol=1e-2, rtol=0)


def test_crops_keep_inputs_and_targets_together(features: FeatureSplit) -> None:
    normalise = Normaliser(features.frames)
    whole, labels = normalise(features.frames), torch.from_numpy(features.labels).float()
    places = set()
    for batch in islice(training_batches(features, normalise, 4, 60, seed=0), 6):
        assert batch.inputs.shape == (4, 40, 60)
        assert batch.targets.shape == (4, 60)
        for crop, target in zip(batch.inputs, batch.targets, strict=True):
            found = [(i, t) for i in range(9) for t in range(141) if torch.equal(whole[i, :, t : t + 60], crop)]
            assert len(found) == 1
            places.update(found)
            ((index, start),) = found
            assert torch.equal(labels[index, start : start + 60], target)
    assert len({start for _, start in places}) > 8
    assert {index for index, _ in places} == set(range(9))


def test_scored_batches_are_whole_and_in_order(features: FeatureSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    normalise = Normaliser(features.frames)
    monkeypatch.setattr("tasks.vad.batches.SCORED_AT_ONCE", 900)
    batches = list(scored_batches(features, normalise))
    assert [len(batch.inputs) for batch in batches] == [4, 4, 1]
    torch.testing.assert_close(torch.cat([b.inputs for b in batches]), normalise(features.frames))
    assert torch.equal(torch.cat([b.targets for b in batches]), torch.from_numpy(features.labels).float())
