"""Small corpora of real files with a ``manifest.csv``, for both tasks on speech."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from tasks._speech.manifest import NAME

Row = tuple[str, ...]  # path, label, split, speaker, attack or segments


def write_sound(path: Path, number: int, rate: int = 16_000, channels: int = 1, seconds: float = 0.6) -> Path:
    """Noise that is loud in the middle, different for each number."""
    samples = np.random.default_rng(number).normal(0, 1e-3, (round(seconds * rate), channels))
    samples[len(samples) // 6 : -len(samples) // 6] *= 100
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.rint(samples * 32_767).astype(np.int16), rate)  # as integers: formats round alike
    return path


def write_table(root: Path, column: str, rows: Sequence[Row]) -> Path:
    lines = [("path", "label", "split", "speaker", column), *rows]
    root.mkdir(parents=True, exist_ok=True)
    (root / NAME).write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return root / NAME


def antispoof_rows(each: int = 2) -> list[Row]:
    """As many bona fide and spoofed recordings of one speaker a split; one path has a space."""
    return [
        (f"wav/{split} {label}{number}.flac", label, split, f"{split}-1", "" if label == "bonafide" else f"A0{number}")
        for split in ("train", "dev", "eval")
        for label in ("bonafide", "spoof")
        for number in range(each)
    ]


def vad_rows(each: int = 2) -> list[Row]:
    """As much speech of one speaker, half of it with segments, as noise of nobody a split."""
    return [
        (f"wav/{split}-{label}{number}.wav", label, split, "" if label == "noise" else f"{split}-1", segments)
        for split in ("train", "dev", "eval")
        for label in ("speech", "noise")
        for number in range(each)
        for segments in ("0.1-0.25;0.3-0.5" if label == "speech" and number % 2 else "",)
    ]


def write_corpus(root: Path, column: str, rows: Sequence[Row]) -> Path:
    """The files of all rows, at three rates, every third one in stereo, and the table: its path."""
    for number, row in enumerate(rows):
        write_sound(root / row[0], number, (16_000, 8_000, 44_100)[number % 3], 1 + (number % 3 == 2))
    return write_table(root, column, rows)
