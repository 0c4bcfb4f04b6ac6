import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench import BenchError
from tasks.antispoof.asvspoof import audio_path, protocol_path, read_protocol
from tasks.antispoof.features import FeatureSettings, FeatureSplit, filterbank, prepare_features

SETTINGS = FeatureSettings()
IDENTITY = {"corpus": "test", "seed": 0}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten noises of different lengths, one of them silent, one of a single sample."""
    root, rng = tmp_path / "corpus", np.random.default_rng(0)
    lines = []
    for i in range(10):
        system, label = ("-", "bonafide") if i % 2 else (f"A0{i // 2 + 1}", "spoof")
        lines.append(f"LA_0001 LA_T_{i} - {system} {label}\n")
        count = 1 if i == 8 else 16_000 + 1600 * i + 37
        path = audio_path(root, "train", f"LA_T_{i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, (i != 7) * rng.normal(0, 0.1, count), 16_000)
    protocol_path(root, "train").parent.mkdir(parents=True)
    protocol_path(root, "train").write_text("".join(lines))
    return root


def prepare(corpus: Path, workers: int = 1, **changes: object) -> FeatureSplit:
    read, cache = partial(read_protocol, corpus), corpus.parent / "cache"
    return prepare_features(read, cache, {**IDENTITY, **changes}, SETTINGS, "train", workers=workers)


def test_each_utterance_keeps_its_frames(corpus: Path) -> None:
    split = prepare(corpus)
    assert len(split) == 10
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [0, 1] * 5
    assert split.attacks.tolist()[:4] == ["A01", "bonafide", "A02", "bonafide"]
    assert split.keys[3] == "LA_T_3"
    for i in range(10):
        frames = split.frames(i)
        assert frames.shape == (1 if i == 8 else 100 + 10 * i, 60)
        assert frames.dtype == np.float16
        assert np.isfinite(frames).all()
        assert (frames != 0).any(axis=1).all()
        np.testing.assert_array_equal(split.mean(i), frames.astype(np.float32).mean(0))


def test_features_are_those_of_the_filterbank(corpus: Path) -> None:
    split, compute = prepare(corpus), filterbank(SETTINGS)
    samples, _ = soundfile.read(audio_path(corpus, "train", "LA_T_5"), dtype="float32")
    np.testing.assert_array_equal(split.frames(5), compute(samples))


def test_the_number_of_threads_changes_nothing(corpus: Path) -> None:
    one, four = prepare(corpus, run="one"), prepare(corpus, workers=4, run="four")
    for i in range(10):
        np.testing.assert_array_equal(one.frames(i), four.frames(i))


def test_features_are_made_once(corpus: Path) -> None:
    done: list[float] = []
    first = prepare_features(
        partial(read_protocol, corpus), corpus.parent / "cache", IDENTITY, SETTINGS, "train", progress=done.append
    )
    assert done[-1] == 1
    audio_path(corpus, "train", "LA_T_0").unlink()
    again = prepare(corpus)
    np.testing.assert_array_equal(first.frames(0), again.frames(0))
    with pytest.raises(BenchError, match=r"LA_T_0\.flac is missing"):
        prepare(corpus, seed=1)
    assert len(list((corpus.parent / "cache").iterdir())) == 1


def test_damaged_audio_is_named_and_leaves_no_cache(corpus: Path) -> None:
    audio_path(corpus, "train", "LA_T_4").write_bytes(b"fLaC, but no more")
    with pytest.raises(BenchError, match=r"LA_T_4\.flac cannot be read"):
        prepare(corpus, workers=2)
    assert not list((corpus.parent / "cache").iterdir())


def test_samples_that_are_no_numbers_are_named(corpus: Path) -> None:
    path = audio_path(corpus, "train", "LA_T_2")
    with path.open("wb") as file:
        soundfile.write(file, np.full(400, np.nan, np.float32), 16_000, format="WAV", subtype="FLOAT")
    with pytest.raises(BenchError, match=r"LA_T_2\.flac gives features that are not finite"):
        prepare(corpus)


def test_the_manifest_names_what_made_it(corpus: Path) -> None:
    prepare(corpus)
    (folder,) = (corpus.parent / "cache").iterdir()
    manifest = json.loads((folder / "made_from.json").read_text())
    assert manifest["identity"] == IDENTITY
    assert manifest["features"]["bands"] == 60


def sine(hertz: float) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("hertz", [500, 3000, 7300])
def test_bands_are_linear_in_frequency(hertz: float) -> None:
    frames = filterbank(SETTINGS)(sine(hertz))
    assert abs(frames[50].argmax() - (hertz / 8000 * 61 - 1)) <= 1
