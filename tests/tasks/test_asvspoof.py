from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import BenchError
from tasks.antispoof.asvspoof import (
    Utterance,
    audio_path,
    corpus_identity,
    corpus_root,
    protocol_path,
    read_audio,
    read_protocol,
    write_protocol,
)

LINES = ["LA_0079 LA_T_1138215 - - bonafide", "LA_0080 LA_T_1271820 - A03 spoof"]


def protocol(root: Path, *lines: str) -> Path:
    path = protocol_path(root, "train")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))
    return root


def tone(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] + [0 * wave] * (channels - 1), axis=1), rate)
    return path


def test_a_protocol_is_read(tmp_path: Path) -> None:
    genuine, spoofed = read_protocol(protocol(tmp_path, *LINES), "train")
    flac = tmp_path / "ASVspoof2019_LA_train" / "flac"
    assert genuine == Utterance("LA_T_1138215", "LA_0079", "bonafide", True, flac / "LA_T_1138215.flac")
    assert spoofed == Utterance("LA_T_1271820", "LA_0080", "A03", False, flac / "LA_T_1271820.flac")


def test_a_written_protocol_reads_as_it_was(tmp_path: Path) -> None:
    utterances = read_protocol(protocol(tmp_path / "a", *LINES), "train")
    write_protocol(tmp_path / "b", "train", utterances)
    assert protocol_path(tmp_path / "b", "train").read_text() == "\n".join(LINES) + "\n"


def test_the_folder_around_LA_will_do(tmp_path: Path) -> None:
    root = protocol(tmp_path / "LA", *LINES)
    assert corpus_root(tmp_path) == corpus_root(root) == root
    assert read_protocol(tmp_path, "train") == read_protocol(root, "train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), r"train\.trn\.txt is empty: expected one line for each train utterance"),
        (("",), "is empty"),
        (LINES[:1], "lists bonafide utterances only: .* needs spoof ones"),
        (LINES[1:], "lists spoof utterances only: .* needs bonafide ones"),
        (
            (LINES[0], "LA_0080 LA_T_1271820 A03 spoof"),
            r"train\.trn\.txt, line 2: 'LA_0080 LA_T_1271820 A03 spoof' has 4 fields; expected 5 fields: speaker",
        ),
        ((LINES[0], LINES[1] + " x"), "has 6 fields; expected 5 fields"),
        ((LINES[0].replace("bonafide", "genuine"),), "line 1: key 'genuine' .* expected bonafide or spoof"),
        (("S U - - spoof",), "line 1: system '-' of a spoof utterance .* expected - for bonafide"),
        (("S U - A01 bonafide",), "system 'A01' of a bonafide utterance"),
    ],
)
def test_a_bad_protocol_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        read_protocol(protocol(tmp_path, *lines), "train")


def test_a_protocol_that_is_no_text_is_refused(tmp_path: Path) -> None:
    protocol_path(protocol(tmp_path), "train").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match=r"train\.trn\.txt cannot be read as text"):
        read_protocol(tmp_path, "train")


def test_a_missing_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"ASVspoof2019\.LA\.cm\.dev\.trl\.txt is missing: .* dev utterances"):
        read_protocol(protocol(tmp_path, *LINES), "dev")


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nowhere does not exist: expected the folder that holds ASVspoof2019"):
        corpus_root(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="file is a file: expected the folder"):
        corpus_root(tmp_path / "file")
    with pytest.raises(BenchError, match=r"is no ASVspoof 2019 LA corpus: .* Unpack LA\.zip"):
        corpus_root(tmp_path)


def test_audio_comes_back_to_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = np.random.default_rng(0).integers(-32768, 32768, 4000, dtype=np.int16)
    soundfile.write(path, samples, 16_000)
    read = read_audio(path)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read * 32768, samples)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = read_audio(tone(tmp_path / "2.flac", channels=2))
    one = read_audio(tone(tmp_path / "1.flac"))
    assert both.shape == one.shape
    np.testing.assert_allclose(both, one / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    other = read_audio(tone(tmp_path / "a.flac", rate=rate))
    wanted = read_audio(tone(tmp_path / "b.flac"))
    assert len(other) == len(wanted)
    np.testing.assert_allclose(other[800:-800], wanted[800:-800], atol=2e-3)


def test_bad_audio_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none\.flac is missing, although the corpus lists it"):
        read_audio(tmp_path / "none.flac")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16_000)
    (tmp_path / "silent.wav").rename(tmp_path / "silent.flac")
    with pytest.raises(BenchError, match=r"silent\.flac has no samples"):
        read_audio(tmp_path / "silent.flac")
    tone(tmp_path / "empty.flac", seconds=0)
    with pytest.raises(BenchError, match=r"empty\.flac cannot be read: expected FLAC. It is empty or damaged"):
        read_audio(tmp_path / "empty.flac")
    (tmp_path / "text.flac").write_text("no audio at all")
    with pytest.raises(BenchError, match=r"text\.flac cannot be read: expected FLAC"):
        read_audio(tmp_path / "text.flac")
    whole = tone(tmp_path / "half.flac", seconds=2).read_bytes()
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BenchError, match=r"half\.flac"):
        read_audio(tmp_path / "half.flac")


def test_what_is_trained_on_is_not_scored(tmp_path: Path) -> None:
    root = protocol(tmp_path, *LINES)
    write_protocol(root, "dev", read_protocol(root, "train"))
    with pytest.raises(BenchError, match=r"dev.trl.txt lists LA_T_1138215, which train has already"):
        corpus_identity(root, ["train", "dev"])


def test_identity_follows_protocol_and_sizes(tmp_path: Path) -> None:
    root = protocol(tmp_path, *LINES)
    bare = corpus_identity(root, ["train"])
    assert corpus_identity(root, ["train"]) == bare
    tone(audio_path(root, "train", "LA_T_1138215"))
    with_audio = corpus_identity(root, ["train"])
    tone(audio_path(root, "train", "LA_T_1138215"), seconds=0.6)
    longer = corpus_identity(root, ["train"])
    protocol(root, LINES[0], LINES[1].replace("A03", "A04"))
    relabelled = corpus_identity(root, ["train"])
    assert len({identity["digest"] for identity in (bare, with_audio, longer, relabelled)}) == 4
