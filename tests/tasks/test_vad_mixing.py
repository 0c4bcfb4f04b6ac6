from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import BenchError
from tasks._speech import Bools, Signal
from tasks.vad.activity import read_intervals
from tasks.vad.esc50 import read_clips
from tasks.vad.mixing import SPEECH_SHARE, MixSpec, Mixture, Sources, mix
from tasks.vad.sources import Folders
from tasks.vad.vctk import alignment_path
from tests.tasks.vad_folders import write_esc50, write_vctk

SPEC = MixSpec("train", 12, 4.0, ((0, 0.001), (20, 20.001)), seed=5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("real")
    return Folders(write_vctk(root / "vctk", utterances=3), write_esc50(root / "esc50"))


@pytest.fixture(scope="module")
def sources(folders: Folders) -> Sources:
    return folders.read("train", 5)


def power(samples: Signal, where: Bools) -> float:
    return float(np.mean(samples[where].astype(np.float64) ** 2))


def middle(active: Bools) -> Bools:
    """Where activity, or its absence, has lasted and will last 50 ms."""
    return np.convolve(active, np.ones(1601), "same") > 1600


def snr_db(mixture: Mixture) -> float:
    noise = power(mixture.samples, middle(~mixture.active))
    return float(10 * np.log10(power(mixture.samples, middle(mixture.active)) / noise - 1))


def test_snr_is_that_of_active_speech(sources: Sources) -> None:
    for index in range(12):
        mixture = mix(sources, SPEC, index)
        assert mixture.snr_range == index % 2
        assert snr_db(mixture) == pytest.approx((0, 20)[index % 2], abs=1.0)


def test_ratios_spread_over_their_range(sources: Sources) -> None:
    spec = replace(SPEC, snr_ranges_db=((0, 20),))
    ratios = np.array([snr_db(mix(sources, spec, index)) for index in range(30)])
    assert ratios.min() < 5 and ratios.max() > 15


def test_a_mixture_depends_on_seed_split_and_index_alone(sources: Sources, folders: Folders) -> None:
    first = mix(sources, SPEC, 3)
    np.testing.assert_array_equal(first.samples, mix(folders.read("train", 5), SPEC, 3).samples)
    for spec, index in ((SPEC, 5), (replace(SPEC, seed=6), 3), (replace(SPEC, split="dev"), 3)):
        assert not np.array_equal(first.samples, mix(sources, spec, index).samples)
    longer = mix(sources, replace(SPEC, mixtures=99), 3)
    np.testing.assert_array_equal(first.samples, longer.samples)


def test_pauses_bring_the_share_of_speech_to_its_target(sources: Sources) -> None:
    """The files are 60 % speech by themselves: 0.9 s of 1.5 s."""
    shares = [mix(sources, replace(SPEC, seconds=10.0), index).active.mean() for index in range(30)]
    assert np.mean(shares) == pytest.approx(SPEECH_SHARE, abs=0.03)


def test_levels_are_drawn_and_nothing_clips(sources: Sources) -> None:
    mixtures = [mix(sources, SPEC, index).samples for index in range(20)]
    levels = [10 * np.log10(np.mean(samples**2)) for samples in mixtures]
    assert -38.1 < min(levels) < -33 and -23 < max(levels) < -17.9
    assert all(samples.dtype == np.float64 and samples.shape == (64_000,) for samples in mixtures)
    assert max(np.abs(samples).max() for samples in mixtures) < 1


def test_silence_at_the_end_of_a_noise_is_cut_off(sources: Sources) -> None:
    """The tones of 0.5 s lie in files of 1 s: without a cut every second half second would be quiet."""
    mixture = mix(sources, replace(SPEC, snr_ranges_db=((-60, -59),)), 0)
    levels = np.mean(mixture.samples.reshape(-1, 1600) ** 2, axis=1)
    assert levels.min() > 0.5 * levels.max()


def test_an_alignment_takes_the_place_of_energy(sources: Sources, tmp_path: Path) -> None:
    for utterances in sources.speakers:
        for utterance in utterances:
            path = tmp_path / utterance.speaker / f"{utterance.key}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("0.5 0.6\n")
    aligned = replace(sources, segments=lambda utterance: read_intervals(alignment_path(tmp_path, utterance)))
    mixture = mix(aligned, replace(SPEC, seconds=20.0), 0)
    edges = np.flatnonzero(np.diff(mixture.active.astype(int)))
    assert 1600 in np.diff(edges)  # 0.1 s at 16 kHz
    assert mixture.active.mean() < 0.2
    for path in tmp_path.rglob("*.txt"):
        path.write_text("7 8\n")
    with pytest.raises(BenchError, match=r"p\d+_\d+_mic1\.flac has no speech before its end"):
        mix(aligned, SPEC, 0)


def test_silent_noise_is_refused_by_name(tmp_path: Path, sources: Sources) -> None:
    clips = read_clips(write_esc50(tmp_path))
    for clip in clips:
        soundfile.write(clip.path, np.zeros(1000), 44_100)
    with pytest.raises(BenchError, match=r"\d-10000\d-A-\d\.wav is silent: remove its line"):
        mix(replace(sources, noises=clips), SPEC, 0)
