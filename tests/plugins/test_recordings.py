"""What is in sound files, and what speaks against training on them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import Recording, inspect_recordings, listing_problems
from bench.plugins.recordings import FULL_SCALE, Inspection, listen
from tests.tasks.manifests import write_sound

LABELS = ("speech", "noise")


def inspected(*recordings: Recording, labels: tuple[str, ...] = ()) -> Inspection:
    return inspect_recordings(recordings, labels, 2, lambda fraction, note: None)


def problems_of(recording: Recording, root: Path) -> list[str]:
    """Those of one recording of train, beside good ones of dev and eval."""
    good = [Recording(write_sound(root / f"{split}.wav", n), split, "") for n, split in enumerate(("dev", "eval"))]
    return inspected(recording, *good).problems


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("a.wav", 16_000, 1), ("a.flac", 44_100, 2), ("a.ogg", 8_000, 1)]
)
def test_a_sound_is_measured(tmp_path: Path, name: str, rate: int, channels: int) -> None:
    sound = listen(Recording(write_sound(tmp_path / name, 0, rate, channels, 0.5), "train", ""))
    assert (sound.rate, sound.channels, sound.problem, sound.clipped) == (rate, channels, "", False)
    assert sound.seconds == pytest.approx(0.5, abs=0.01)


def test_the_digest_is_that_of_the_samples(tmp_path: Path) -> None:
    first, other, copy = (write_sound(tmp_path / name, n) for name, n in (("a.wav", 0), ("b.wav", 1), ("a.flac", 0)))
    quick = write_sound(tmp_path / "quick.wav", 0)
    samples, _ = soundfile.read(first, dtype="int16")
    soundfile.write(quick, samples, 8_000)
    digests = [listen(Recording(path, "train", "")).digest for path in (first, copy, other, quick)]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_recording_longer_than_a_block_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(write_sound(tmp_path / "a.wav", 0), "train", "")
    whole = listen(recording)
    monkeypatch.setattr("bench.plugins.recordings.AT_ONCE", 1000)
    assert listen(recording) == whole


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it cannot be read as sound, since it is empty or damaged"),
        (b"no sound at all", "it cannot be read as sound"),
        (np.zeros(0), "it has no samples"),
        (np.zeros(8000), "it is silent, all its samples are 0"),
        (np.full(8000, np.nan, np.float32), "it has samples that are not finite"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | np.ndarray, problem: str) -> None:
    path = tmp_path / "a b.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content, 16_000, subtype="FLOAT")
    (said,) = problems_of(Recording(path, "train", "", listed="list, line 2"), tmp_path)
    assert said.startswith(f"list, line 2: {path}: {problem}")


def test_half_a_flac_file_is_named(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "half.flac", 9, seconds=3)
    path.write_bytes(path.read_bytes()[:20_000])
    (said,) = problems_of(Recording(path, "train", ""), tmp_path)
    assert said.startswith(f"{path}: it cannot be read as sound")


def test_half_a_wav_file_is_told(tmp_path: Path) -> None:
    """Its samples can be read, as readers of WAV do, up to where it ends."""
    path = write_sound(tmp_path / "half.wav", 9, seconds=3)
    assert not inspected(Recording(path, "train", "")).notes
    path.write_bytes(path.read_bytes()[:20_000])
    assert inspected(Recording(path, "train", "")).notes == [f"1 of 1 are not as long as their header says: {path}"]


def test_what_is_not_there_is_named_once(tmp_path: Path) -> None:
    assert problems_of(Recording(tmp_path / "no.wav", "train", ""), tmp_path) == [
        f"{tmp_path / 'no.wav'}: there is no such file"
    ]
    broken = Recording(tmp_path / "no.wav", "train", "", problem="its label is odd")
    assert problems_of(broken, tmp_path)[0] == f"{tmp_path / 'no.wav'}: its label is odd"
    (tmp_path / "raw.raw").write_bytes(b"1234")  # a format that says nothing of itself
    assert "cannot be read as sound" in problems_of(Recording(tmp_path / "raw.raw", "train", ""), tmp_path)[0]


@pytest.mark.parametrize(("end", "outside"), [(0.6, False), (0.605, False), (0.62, True)])
def test_segments_lie_within_their_recording(tmp_path: Path, end: float, outside: bool) -> None:
    recording = Recording(write_sound(tmp_path / "a.wav", 9), "train", "", segments=((0.1, 0.2), (0.3, end)))
    said = problems_of(recording, tmp_path)
    assert said == [f"{recording.path}: a segment ends at {end:g} s, but the recording at 0.60 s"] * outside


def test_the_same_samples_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    paths = [write_sound(tmp_path / name, 0) for name in ("a.wav", "b.flac", "c.wav")]
    other = write_sound(tmp_path / "d.wav", 1)
    found = inspected(
        *(Recording(p, s, "") for p, s in zip([*paths, other], ("train", "eval", "train", "dev"), strict=True))
    )
    assert found.problems == [f"{paths[1]}: eval has the same samples as train in {paths[0]}: keep one of them"]
    assert found.notes == [f"1 of 4 are copies of another in their split, sample by sample: {paths[2]}"]


def test_clipped_and_short_recordings_are_told(tmp_path: Path) -> None:
    loud, short = tmp_path / "loud.wav", write_sound(tmp_path / "short.wav", 1, seconds=0.09)
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    samples[:20] = FULL_SCALE
    soundfile.write(loud, samples, 16_000, subtype="FLOAT")
    notes = inspected(Recording(loud, "train", ""), Recording(short, "dev", "")).notes
    assert [note.split(" (")[0] for note in notes] == ["1 of 2 are clipped", f"1 of 2 are shorter than 0.1 s: {short}"]
    samples[:10] = 0
    soundfile.write(loud, samples, 16_000, subtype="FLOAT")
    assert not inspected(Recording(loud, "train", "")).notes


def test_a_list_needs_every_split_and_every_class(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", 0)
    rows = [Recording(path, split, label, f"{split}-{label}") for split in ("train", "dev") for label in LABELS]
    assert listing_problems(rows, LABELS) == [
        "nothing is listed for eval: put some of the recordings, of other speakers, into it"
    ]
    assert listing_problems([*rows, Recording(path, "eval", "noise")], LABELS) == [
        "eval has noise recordings only: list some speech ones as well"
    ]
    assert listing_problems([*rows, *(Recording(path, "eval", label) for label in LABELS)], LABELS) == []


def test_speakers_in_two_splits_are_named(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", 0)
    rows = [Recording(path, split, "", f"s{n}") for split in ("train", "eval") for n in range(30)]
    (said,) = listing_problems([*rows, Recording(path, "dev", "", "s")], ())
    assert said.startswith("30 speakers (s0, s1, ") and "s19, …) are in train and in eval: keep each" in said
