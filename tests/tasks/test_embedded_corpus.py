import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import BenchError
from tasks._speech.channel import Line, record, transmit
from tasks._speech.speaker import draw_speaker
from tasks._speech.synthesis import Speech, synthesise
from tasks.antispoof.asvspoof import SPLITS, read_audio, read_protocol
from tasks.antispoof.attacks import KNOWN, UNSEEN
from tasks.antispoof.embedded import CorpusSpec, generate, write_corpus

ATTACKS = {**KNOWN, **UNSEEN}
TINY = CorpusSpec(seed=3, seconds=0.6, utterances=(20, 20, 32), speakers=(4, 3, 3))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, done = tmp_path_factory.mktemp("corpus"), list[float]()
    write_corpus(folder, TINY, progress=done.append)
    assert done == sorted(done) and done[-1] == 1
    return folder


@pytest.fixture(scope="module")
def speech() -> Speech:
    rng = np.random.default_rng(5)
    dry = synthesise(rng, draw_speaker(rng), 1.5)
    return Speech(record(rng, dry.samples), dry.f0_hz, dry.active)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_has_a_file_for_each_utterance_and_a_protocol_for_each_split(corpus: Path) -> None:
    assert len(digests(corpus)) == 20 + 20 + 32 + 3


def test_another_seed_gives_another_corpus() -> None:
    first = generate(TINY, 0, 0)
    other = generate(CorpusSpec(4, TINY.seconds, TINY.utterances, TINY.speakers), 0, 0)
    assert not np.array_equal(first, other)


def test_files_are_what_was_generated(corpus: Path) -> None:
    for split, name in enumerate(SPLITS):
        utterance = read_protocol(corpus, name)[7]
        info = soundfile.info(utterance.path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16_000, 1)
        samples = read_audio(utterance.path)
        assert len(samples) == 9600
        np.testing.assert_allclose(samples, generate(TINY, split, 7), atol=1 / 32768)


def test_splits_hold_what_they_should(corpus: Path) -> None:
    speakers: list[set[str]] = []
    for name, count, share, attacks in zip(
        SPLITS, TINY.utterances, (0.4, 0.4, 0.3), (KNOWN, KNOWN, UNSEEN), strict=True
    ):
        utterances = read_protocol(corpus, name)
        assert len(utterances) == count
        assert sum(u.bonafide for u in utterances) == round(share * count)
        tally = Counter(u.attack for u in utterances if not u.bonafide)
        assert set(tally) == set(attacks)
        assert max(tally.values()) - min(tally.values()) <= 1
        speakers.append({u.speaker for u in utterances})
    assert set(KNOWN) == {f"A{i:02d}" for i in range(1, 7)}
    assert set(UNSEEN) == {f"A{i:02d}" for i in range(7, 17)} | {"A19"}
    assert speakers[0].isdisjoint(speakers[1] | speakers[2])
    assert speakers[1].isdisjoint(speakers[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "Corpus seed -1: expected a whole number from 0"),
        ({"seconds": 0.1}, r"Utterances of 0\.1 s: expected 0\.5 to 60 s"),
        ({"utterances": (20, 20, 5)}, "5 utterances of 40 speakers in eval"),
        ({"speakers": (0, 1, 1)}, "2400 utterances of 0 speakers in train"),
    ],
)
def test_an_impossible_spec_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        CorpusSpec(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_changes_samples_and_nothing_else(name: str, speech: Speech) -> None:
    attack, before = ATTACKS[name], speech.samples.copy()
    spoofed = attack(speech.samples, speech.f0_hz, np.random.default_rng(1))
    np.testing.assert_array_equal(speech.samples, before)
    assert spoofed.shape == before.shape
    assert spoofed.dtype == np.float64
    assert np.isfinite(spoofed).all()
    assert 0.1 < spoofed.std() / before.std() < 10
    assert np.abs(spoofed - before).max() > 0.1 * before.std()
    again = attack(speech.samples, speech.f0_hz, np.random.default_rng(1))
    np.testing.assert_array_equal(spoofed, again)
    other = attack(speech.samples, speech.f0_hz, np.random.default_rng(2))
    assert not np.array_equal(spoofed, other)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_survives_speech_without_pitch(name: str, speech: Speech) -> None:
    silent = np.zeros_like(speech.samples)
    unvoiced = np.zeros_like(speech.f0_hz)
    for samples in (speech.samples, silent):
        assert np.isfinite(ATTACKS[name](samples, unvoiced, np.random.default_rng(1))).all()


@pytest.mark.parametrize("name", ["bonafide", *ATTACKS])
def test_the_line_hides_level_offset_crest_and_polarity(name: str, speech: Speech) -> None:
    samples = speech.samples
    if name != "bonafide":
        samples = ATTACKS[name](samples, speech.f0_hz, np.random.default_rng(1))
    # Same draws whatever the class; only so are the results comparable one by one.
    sent = transmit(np.random.default_rng(7), samples, Line(level_db=(-26, -26), crest=(4, 4)))
    level = np.sqrt(np.mean(sent**2))
    assert 20 * np.log10(level) == pytest.approx(-26, abs=0.1)
    assert np.abs(sent).max() / level == pytest.approx(4, abs=0.15)
    assert abs(sent.mean()) < 1e-5
    flipped = [transmit(np.random.default_rng(seed), samples, Line()) @ samples < 0 for seed in range(40)]
    assert 8 <= sum(flipped) <= 32
