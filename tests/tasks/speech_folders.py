"""Small real folders in the layouts of LibriSpeech and Speech Commands v2."""

from pathlib import Path

import numpy as np
import soundfile

from tasks.asr.librispeech import FOLDERS, write_transcripts
from tasks.asr.speech_commands import LISTS


def write_sound(path: Path, seconds: float, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(len(path.name)).normal(0, 0.1, int(seconds * rate)), rate)
    return path


def write_librispeech(root: Path, seconds: float = 0.5) -> Path:
    """Two utterances of one speaker in each split."""
    for number, folder in enumerate(FOLDERS.values()):
        chapter = root / folder / str(100 + number) / "7"
        said = {f"{100 + number}-7-{n:04d}": words for n, words in enumerate((("DON'T", "GO"), ("A",)))}
        for key in said:
            write_sound(chapter / f"{key}.flac", seconds)
        write_transcripts(chapter, said)
    return root


def write_speech_commands(root: Path) -> Path:
    """Four words of four speakers, of whom one is for dev and one for eval."""
    for word in ("zero", "go", "marvin", "wow"):
        for speaker in "abcd":
            write_sound(root / word / f"{speaker}_nohash_0.wav", 0.4)
    write_sound(root / "_background_noise_" / "pink_noise.wav", 0.5)
    for speaker, name in zip("cd", LISTS.values(), strict=True):
        lines = "".join(f"{word}/{speaker}_nohash_0.wav\n" for word in ("zero", "go", "marvin", "wow"))
        (root / name).write_text(lines, encoding="utf-8")
    return root
