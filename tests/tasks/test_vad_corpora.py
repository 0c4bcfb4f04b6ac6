from pathlib import Path

import pytest

from bench import BenchError
from tasks._speech.snr import check_ranges
from tasks.vad.esc50 import AUDIO, FOLDS, TABLE, VOCAL, esc50_root, read_clips
from tasks.vad.sources import Folders
from tasks.vad.vctk import SPLITS, audio_path, check_alignment, read_utterances, speakers_of, vctk_root
from tests.tasks.vad_folders import CATEGORIES, write_esc50, write_vctk


def test_vctk_is_read(tmp_path: Path) -> None:
    root = write_vctk(tmp_path / "VCTK")
    (root / "wav48_silence_trimmed" / "p225" / "p225_001_mic2.flac").touch()
    (root / "wav48_silence_trimmed" / "log.txt").touch()
    utterances = read_utterances(vctk_root(root))
    assert [(u.key, u.speaker) for u in utterances[:3]] == [
        ("p225_001", "p225"),
        ("p225_002", "p225"),
        ("p226_001", "p226"),
    ]
    assert len(utterances) == 8
    assert utterances[0].path == audio_path(root, "p225", "p225_001")
    assert vctk_root(tmp_path) == root


def test_a_folder_that_is_no_vctk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nowhere does not exist: expected the folder that holds wav48_silence"):
        vctk_root(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="file is a file"):
        vctk_root(tmp_path / "file")
    with pytest.raises(BenchError, match=r"is no VCTK 0\.92 corpus: it has no wav48_silence_trimmed/; .* Unpack VCTK"):
        vctk_root(tmp_path)
    few = write_vctk(tmp_path / "few", speakers=2)
    with pytest.raises(BenchError, match=r"has 4 files \*_mic1\.flac of 2 speakers; .* at least three speakers"):
        read_utterances(few)


@pytest.mark.parametrize("count", [3, 4, 5, 10, 110])
def test_every_split_has_speakers_of_its_own(count: int) -> None:
    names = {f"p{i}" for i in range(count)}
    splits = [set(speakers_of(split, names, 7)) for split in SPLITS]
    assert all(splits)
    assert sum(map(len, splits)) == count
    assert set.union(*splits) == names
    assert speakers_of("train", names, 7) == speakers_of("train", names, 7)


def test_the_speakers_of_the_whole_corpus_are_drawn_by_the_seed() -> None:
    names = {f"p{i}" for i in range(110)}
    assert [len(speakers_of(split, names, 7)) for split in SPLITS] == [66, 16, 28]
    assert speakers_of("train", names, 8) != speakers_of("train", names, 7)


def test_esc50_is_read_without_vocal_noises(tmp_path: Path) -> None:
    root = write_esc50(tmp_path / "ESC-50-master")
    clips = read_clips(esc50_root(tmp_path))
    assert esc50_root(root) == root
    assert [(clip.category, clip.fold) for clip in clips[:3]] == [("rain", 1), ("dog", 1), ("rain", 2)]
    assert len(clips) == 10
    assert set(CATEGORIES) & VOCAL == {"crying_baby"}


def test_folds_of_the_splits_are_disjoint_and_complete() -> None:
    assert sorted(fold for folds in FOLDS.values() for fold in folds) == [1, 2, 3, 4, 5]


def test_a_folder_that_is_no_esc50_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nowhere does not exist: expected the folder that holds meta/esc50\.csv"):
        esc50_root(tmp_path / "nowhere")
    with pytest.raises(BenchError, match=r"is no ESC-50 corpus: it has no meta/esc50\.csv, .* Unpack ESC-50-master"):
        esc50_root(tmp_path)


def test_missing_noises_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    root = write_esc50(tmp_path)
    for path in sorted((root / AUDIO).glob("[23]-*.wav")):
        path.unlink()
    message = (
        r"4 of 10 files that .*esc50\.csv lists are missing: "
        r"audio/2-100000-A-0\.wav, audio/2-100001-A-1\.wav, audio/3-100000-A-0\.wav, …\. Unpack"
    )
    with pytest.raises(BenchError, match=message):
        read_clips(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,fold\na.wav,1\n", r"esc50\.csv cannot be read \(KeyError: .*expected columns filename, fold"),
        ("filename,fold,category\na.wav,one,rain\n", r"cannot be read \(ValueError"),
        ("filename,fold,category\n", "lists no noise for train: expected some in fold 1 or 2 or 3"),
        ("filename,fold,category\na.wav,1,rain\nb.wav,4,coughing\n", "lists no noise for dev: expected some in fold 4"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / TABLE).parent.mkdir()
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(BenchError, match=message):
        read_clips(tmp_path)


def test_missing_alignments_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    utterances = read_utterances(write_vctk(tmp_path / "VCTK"))
    with pytest.raises(BenchError, match=r"labels does not exist: expected p225/p225_001\.txt"):
        check_alignment(tmp_path / "labels", utterances)
    (tmp_path / "labels" / "p225").mkdir(parents=True)
    (tmp_path / "labels" / "p225" / "p225_001.txt").write_text("0 1\n")
    message = r"lacks 7 of 8 files: p225/p225_002\.txt, p226/p226_001\.txt, p226/p226_002\.txt, …\."
    with pytest.raises(BenchError, match=message):
        check_alignment(tmp_path / "labels", utterances)


def test_each_split_gets_its_speakers_and_folds(tmp_path: Path) -> None:
    folders = Folders(write_vctk(tmp_path / "v", speakers=5), write_esc50(tmp_path / "e"))
    folders.check()
    heard: list[str] = []
    for split in SPLITS:
        sources = folders.read(split, 0)
        assert {clip.fold for clip in sources.noises} == set(FOLDS[split])
        for utterances in sources.speakers:
            assert len(utterances) == 2
            assert len({u.speaker for u in utterances}) == 1
            heard.append(utterances[0].speaker)
    assert sorted(heard) == ["p225", "p226", "p227", "p228", "p229"]


def test_all_recordings_are_listed_with_split_speaker_and_segments(tmp_path: Path) -> None:
    speech, noise, labels = write_vctk(tmp_path / "v"), write_esc50(tmp_path / "e"), tmp_path / "labels"
    for utterance in read_utterances(speech):
        (labels / utterance.speaker).mkdir(parents=True, exist_ok=True)
        (labels / utterance.speaker / f"{utterance.key}.txt").write_text("0.3 0.5\n0.6 1.2\n")
    folders = Folders(speech, noise, labels)
    found = folders.recordings(0)
    assert len(found) == 8 + 10 and {r.segments for r in found if r.label == "speech"} == {((0.3, 0.5), (0.6, 1.2))}
    for split in SPLITS:
        sources = folders.read(split, 0)
        heard = {r.speaker for r in found if r.split == split and r.label == "speech"}
        assert heard == {utterances[0].speaker for utterances in sources.speakers}
        assert [r.path for r in found if r.split == split and r.label == "noise"] == [c.path for c in sources.noises]
    assert {r.segments for r in Folders(speech, noise).recordings(0)} == {()}
    (labels / "p225" / "p225_001.txt").unlink()
    with pytest.raises(BenchError, match="lacks 1 of 8 files"):
        folders.recordings(0)


def test_identity_follows_files_and_alignment(tmp_path: Path) -> None:
    speech, noise = write_vctk(tmp_path / "v"), write_esc50(tmp_path / "e")
    labels = tmp_path / "labels" / "p225" / "p225_001.txt"
    labels.parent.mkdir(parents=True)
    labels.write_text("0 1\n")
    plain, aligned = Folders(speech, noise), Folders(speech, noise, tmp_path / "labels")
    digests = [plain.identity(tmp_path)["digest"], aligned.identity(tmp_path)["digest"]]
    assert plain.identity(tmp_path)["digest"] == digests[0]
    labels.write_text("0 2\n")
    digests.append(aligned.identity(tmp_path)["digest"])
    write_esc50(noise, seconds=0.6)
    digests.append(plain.identity(tmp_path)["digest"])
    write_vctk(speech, speakers=5)
    digests.append(plain.identity(tmp_path)["digest"])
    assert len(set(digests)) == 5


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ((), r"snr_ranges_db is \(\): expected ranges in dB"),
        ([(0, 5)], "expected ranges in dB, such as"),
        (((5, 5),), r"has \(5, 5\): expected ranges from low to high"),
        (((5, 0),), "has"),
        (((0, 10), (5, 20)), r"has \(5, 20\): .* in ascending order"),
        ((5, 15), "has 5: expected ranges"),
        (((0, 5, 10),), "has"),
        ((("a", 5),), "has"),
        (((float("nan"), 5),), "has"),
        (((-float("inf"), 5),), "has"),
    ],
)
def test_malformed_ranges_are_refused(ranges: object, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        check_ranges(ranges)


def test_ranges_may_touch_and_leave_gaps() -> None:
    check_ranges(((-5, 5), (5, 15), (20.5, 25)))
