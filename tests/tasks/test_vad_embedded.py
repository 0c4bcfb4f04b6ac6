from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench import BenchError
from tasks._speech.audio import read_recording
from tasks.vad.activity import mask_of, read_intervals
from tasks.vad.embedded import write_corpus
from tasks.vad.embedded.spec import ALIGNMENT, NOISE, SPEECH, CorpusSpec
from tasks.vad.esc50 import FOLDS, read_clips
from tasks.vad.noises import KNOWN, UNSEEN
from tasks.vad.noises.babble import babble
from tasks.vad.sources import Folders
from tasks.vad.vctk import alignment_path, read_utterances
from tests.tasks.test_embedded_corpus import digests

TINY = CorpusSpec(seed=3, speakers=4, utterances=2, noises=1, seconds=1.5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, done = tmp_path_factory.mktemp("corpus"), list[float]()
    write_corpus(folder, TINY, 1, done.append)
    assert done == sorted(done) and done[-1] == 1
    return folder


def test_it_has_all_recordings_with_their_alignments_and_a_list_of_noises(corpus: Path) -> None:
    assert len(digests(corpus)) == 4 * 2 * 2 + 5 * 6 + 1


def test_another_seed_gives_other_samples(corpus: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path, CorpusSpec(4, 4, 2, 1, 1.5), 1, lambda fraction: None)
    first, other = digests(corpus), digests(tmp_path)
    assert first.keys() == other.keys()
    assert [name for name in first if first[name] == other[name]] == [f"{NOISE}/meta/esc50.csv"]


def test_it_has_the_layout_of_the_real_corpora(corpus: Path) -> None:
    Folders(corpus / SPEECH, corpus / NOISE, corpus / ALIGNMENT).check()
    utterances = read_utterances(corpus / SPEECH)
    assert [u.key for u in utterances[:3]] == ["p225_001", "p225_002", "p226_001"]
    for path, format, seconds in ((utterances[0].path, "FLAC", 1.5), (read_clips(corpus / NOISE)[0].path, "WAV", 5)):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == (format, "PCM_16", 16_000, 1)
        assert info.duration == seconds


def test_eval_has_noises_of_its_own(corpus: Path) -> None:
    clips = read_clips(corpus / NOISE)
    for split, kinds in (("train", KNOWN), ("dev", KNOWN), ("eval", UNSEEN)):
        tally = Counter(clip.category for clip in clips if clip.fold in FOLDS[split])
        assert tally == dict.fromkeys([*kinds, "babble"], len(FOLDS[split]))
    assert set(KNOWN) & set(UNSEEN) == {"coloured"}


def test_speech_is_loud_where_the_alignment_says_so(corpus: Path) -> None:
    for utterance in read_utterances(corpus / SPEECH):
        samples = read_recording(utterance.path, "the corpus").samples
        active = mask_of(read_intervals(alignment_path(corpus / ALIGNMENT, utterance)), len(samples))
        assert 0.2 < active.mean() < 1
        assert np.mean(samples[active] ** 2) > 10 * np.mean(samples[~active] ** 2)


def test_noises_of_babble_use_voices_of_their_own_split(corpus: Path, tmp_path: Path) -> None:
    """More speakers in the corpus leave all noises but babble as they were."""
    write_corpus(tmp_path, CorpusSpec(3, 9, 2, 1, 1.5), 1, lambda fraction: None)
    first, other = digests(corpus), digests(tmp_path)
    changed = {name for name in first if name.startswith(f"{NOISE}/audio") and first[name] != other[name]}
    babbles = {str(c.path.relative_to(corpus)) for c in read_clips(corpus / NOISE) if c.category == "babble"}
    assert changed and changed <= babbles


@pytest.mark.parametrize("name", {**KNOWN, **UNSEEN})
def test_a_noise_is_drawn_from_its_generator(name: str) -> None:
    noise = {**KNOWN, **UNSEEN}[name]
    samples = noise(np.random.default_rng(1), 24_001)
    assert samples.shape == (24_001,)
    assert samples.dtype == np.float64
    assert np.isfinite(samples).all()
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(samples, noise(np.random.default_rng(1), 24_001))
    assert np.abs(samples - noise(np.random.default_rng(2), 24_001)).max() > 0.1


def spread(samples: NDArray[np.float64]) -> float:
    """Standard deviation of the level of 20 ms, in dB."""
    return float((10 * np.log10(np.mean(samples[:64_000].reshape(-1, 320) ** 2, axis=1) + 1e-6)).std())


def test_noises_differ_in_how_steady_they_are() -> None:
    steady, uneven = (
        np.mean([spread(noise(np.random.default_rng(seed), 64_000)) for seed in range(5)])
        for noise in (KNOWN["hum"], UNSEEN["animal"])
    )
    assert uneven > 3 * steady


def test_babble_is_steadier_the_more_voices_it_has(corpus: Path) -> None:
    voices = [read_recording(u.path, "the corpus").samples for u in read_utterances(corpus / SPEECH)]
    one, eight = (spread(babble(np.random.default_rng(0), 64_000, voices[:number])) for number in (1, 8))
    assert eight < 0.7 * one


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (CorpusSpec(-1, 4, 2, 1), "Corpus seed -1: expected a whole number from 0"),
        (CorpusSpec(0, 2, 2, 1), "2 speakers with 2 utterances each and 1 noises of a kind: expected at least three"),
        (CorpusSpec(0, 4, 0, 1), "4 speakers with 0 utterances"),
        (CorpusSpec(0, 4, 2, 0), "0 noises of a kind"),
    ],
)
def test_an_impossible_spec_is_refused(spec: CorpusSpec, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        spec.check()
