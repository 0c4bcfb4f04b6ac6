"""LibriSpeech and Speech Commands as they are distributed, and what can be wrong with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import BenchError, Progress
from bench.check.task import require_disjoint
from tasks.asr import Asr
from tasks.asr.embedded import CorpusSpec, draw_words
from tasks.asr.features import in_noise
from tasks.asr.librispeech import read_librispeech
from tests.tasks.speech_folders import write_librispeech, write_sound, write_speech_commands


def quiet(fraction: float, note: str) -> None:
    pass


def prepared(folder: Path, data: Path, progress: Progress = quiet) -> Asr:
    task = Asr.at("smoke", data=str(data), cache=folder / "cache", bands=8)
    task.check()
    task.prepare(1, progress)
    return task


def test_librispeech_is_spelled_in_letters(tmp_path: Path) -> None:
    data = write_librispeech(tmp_path / "data" / "LibriSpeech")
    task = prepared(tmp_path, data.parent)  # the archives unpack into a folder of their own
    batch = next(task.batches("dev", 0))
    assert batch.inputs.shape == (2, 8, 120)
    assert batch.targets.tolist()[1] == [3, 1, *[-1] * 7]  # "A"
    assert [r.speaker for r in task.recordings(1, quiet)] == ["100", "100", "101", "101", "102", "102"]
    assert require_disjoint(task) == ["utterance", "speaker"]
    scores = task.evaluate(lambda x: task.build_model().eval()(x).detach(), "dev")
    assert next(iter(scores)) == "wer_percent" and {"cer_percent", "cer_percent/<20 dB"} <= {*scores}


def test_speech_commands_become_strings_of_one_speaker(tmp_path: Path) -> None:
    task = prepared(tmp_path, write_speech_commands(tmp_path / "data"))
    of_split = {split: task._corpus()(split) for split in ("train", "dev", "eval")}
    assert {u.speaker for u in of_split["train"]} == {"a", "b"}
    assert [{u.speaker for u in of_split[split]} for split in ("dev", "eval")] == [{"c"}, {"d"}]
    for utterances in of_split.values():
        assert all(u.words == tuple(path.parent.name.upper() for path in u.paths) for u in utterances)
        used = [path for u in utterances for path in u.paths]
        assert len(used) == len({*used}) == 4 * len({u.speaker for u in utterances})
        assert all(1 <= len(u.words) <= 2 and u.seconds <= 1.2 for u in utterances)
    assert next(task.batches("dev", 0)).targets.max() < task._vocabulary.classes
    assert [u.words for u in task._corpus()("dev")] == [u.words for u in of_split["dev"]]


def unreadable(root: Path) -> None:
    (root / "dev-clean/101/7/101-7-0000.flac").write_bytes(b"fLaC")


def empty(root: Path) -> None:
    (root / "dev-clean/101/7/101-7-0000.flac").write_bytes(b"")


def silent(root: Path) -> None:
    __import__("soundfile").write(root / "dev-clean/101/7/101-7-0000.flac", np.zeros(8000), 16_000)


def transcripts(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "dev-clean/101/7/101-7.trans.txt").write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "dev-clean/101/7/101-7.trans.txt").unlink(), r"101-7\.trans\.txt are missing"),
        (transcripts("101-7-0000 A\n"), r"101-7-0001 has a recording but no line in .*101-7\.trans\.txt"),
        (transcripts("101-7-0000 A\n101-7-0001 B\n101-7-9 C\n"), r"101-7-9 has a line but no recording 101-7-9\.flac"),
        (transcripts("101-7-0000 A\n101-7-0001\n"), r"101-7\.trans\.txt: utterance 101-7-0001 has no words"),
        (transcripts("101-7-0000 A\n101-7-0001 C3\n"), r"101-7\.trans\.txt, utterance 101-7-0001: the word 'C3'"),
        (unreadable, r"101-7-0000\.flac cannot be read"),
        (empty, r"101-7-0000\.flac cannot be read: expected FLAC\. It is empty or damaged"),
        (silent, r"101-7-0000\.flac is silent"),
    ],
)
def test_what_is_wrong_with_a_chapter_is_said_with_its_file(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    data = write_librispeech(tmp_path / "data")
    damage(data)
    with pytest.raises(BenchError, match=message) as raised:
        prepared(tmp_path, data)
    assert "\n" not in str(raised.value)


def test_folders_that_are_no_corpus_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nowhere does not exist: expected the folder that holds train-clean-100"):
        Asr(data=str(tmp_path / "nowhere")).check()
    with pytest.raises(BenchError, match=r"is no LibriSpeech corpus: it has no train-clean-100/"):
        Asr(data=str(tmp_path)).check()
    (tmp_path / "dev-clean").mkdir()
    with pytest.raises(BenchError, match=r"dev-clean has no recordings"):
        read_librispeech(write_empty(tmp_path), "dev")


def write_empty(root: Path) -> Path:
    for name in ("train-clean-100", "dev-clean", "test-clean"):
        (root / name).mkdir(exist_ok=True)
    return root


def test_utterances_longer_than_a_recording_are_left_out(tmp_path: Path) -> None:
    data = write_librispeech(tmp_path / "data")
    write_sound(data / "dev-clean/101/7/101-7-0000.flac", 1.5)
    said: set[str] = set()
    task = prepared(tmp_path, data, progress=lambda fraction, note: said.add(note))
    assert next(task.batches("dev", 0)).inputs.shape == (1, 8, 120)
    left_out = "1 of 2 utterances of dev are left out, as they last more than 1.2 s"
    assert said == {"computing features", f"computing features; {left_out}"}
    write_sound(data / "dev-clean/101/7/101-7-0001.flac", 2.5)
    with pytest.raises(BenchError, match=r"1\.50 s and more, but recordings are of 1\.2 s: .* seconds=2\.5 takes all"):
        prepared(tmp_path, data)


def test_what_is_wrong_with_speech_commands_is_said_with_its_file(tmp_path: Path) -> None:
    data = write_speech_commands(tmp_path / "data")
    write_sound(data / "light" / "a_nohash_0.wav", 0.4)
    with pytest.raises(BenchError, match=r"data/light: the word 'LIGHT' is not in the lexicon; expected one of ZERO"):
        prepared(tmp_path, data)
    (data / "light" / "a_nohash_0.wav").unlink()
    (data / "light").rmdir()
    write_sound(data / "go" / "mine.wav", 0.4)
    with pytest.raises(BenchError, match=r"go/mine\.wav: expected a name such as a69b9b3e_nohash_0\.wav"):
        prepared(tmp_path, data)
    (data / "go" / "mine.wav").unlink()
    (data / "go" / "c_nohash_0.wav").unlink()
    with pytest.raises(BenchError, match=r"go/c_nohash_0\.wav is missing, although .*validation_list\.txt lists it"):
        prepared(tmp_path, data)
    (data / "validation_list.txt").unlink()
    with pytest.raises(BenchError, match=r"validation_list\.txt is missing"):
        prepared(tmp_path, data)


def test_embedded_utterances_fit_into_their_recordings() -> None:
    spec = CorpusSpec(0, 1.2, (300, 20, 20), (30, 4, 4), (1, 4))
    drawn = [draw_words(spec, 0, index) for index in range(300)]
    assert max(sum(segment.frames for segment in segments) for _, segments in drawn) <= 240
    assert {len(words) for words, _ in drawn} == {1, 2, 3, 4}
    assert len({word for words, _ in drawn for word in words}) == 20
    assert drawn[7] == draw_words(spec, 0, 7)
    with pytest.raises(BenchError, match="2 utterances of 5 speakers in dev"):
        replace(spec, utterances=(300, 2, 20), speakers=(30, 5, 4))


def test_noise_goes_on_around_the_speech_at_the_ratio_that_was_asked_for() -> None:
    speech = np.random.default_rng(1).normal(0, 1, 8000)
    mixed = in_noise(np.random.default_rng(0), speech, 24_000, snr_db=10)
    start = int(np.argmax(np.correlate(mixed, speech, "valid")))
    said, around = mixed[start : start + 8000], np.r_[mixed[:start], mixed[start + 8000 :]]
    assert len(mixed) == 24_000 and np.abs(around).min() < np.abs(around).max()
    assert 10 * np.log10((said**2).mean() / (around**2).mean() - 1) == pytest.approx(10, abs=1)
