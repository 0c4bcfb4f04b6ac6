"""VCTK 0.92 on disk, as it is distributed: a folder of FLAC files for every speaker.

Yamagishi, Veaux and MacDonald (2019), https://doi.org/10.7488/ds/2645. The first microphone is read; the embedded
corpus is written in the same layout.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import SPLITS, BenchError

AUDIO = "wav48_silence_trimmed"
MICROPHONE = "_mic1.flac"
LAYOUT = f"{AUDIO}/p225/p225_001{MICROPHONE} and so on"
SHARES = {"train": 0.6, "dev": 0.15, "eval": 0.25}  # of the speakers
NAMED = 3  # how many of the missing things a message names


@dataclass(frozen=True)
class Utterance:
    """One recording: ``key`` is ``p225_001``, ``speaker`` is ``p225``."""

    key: str
    speaker: str
    path: Path


def audio_path(root: Path, speaker: str, key: str) -> Path:
    """Where the audio of utterance ``key`` lies."""
    return root / AUDIO / speaker / f"{key}{MICROPHONE}"


def alignment_path(folder: Path, utterance: Utterance) -> Path:
    """Where the alignment of an utterance lies: as its text would in ``txt/``."""
    return folder / utterance.speaker / f"{utterance.key}.txt"


def vctk_root(folder: Path) -> Path:
    """``folder``, or the one folder in it, whichever holds the audio; the archive unpacks either way."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise BenchError(f"Speech folder {folder} {problem}: expected the folder that holds {LAYOUT}.")
    for root in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (root / AUDIO).is_dir():
            return root
    raise BenchError(
        f"{folder} is no VCTK 0.92 corpus: it has no {AUDIO}/; expected {LAYOUT}. "
        "Unpack VCTK-Corpus-0.92.zip and name the folder that it was unpacked to; your own corpus has a manifest.csv."
    )


def read_utterances(root: Path) -> list[Utterance]:
    """All utterances of a corpus, by speaker and number.

    Raises:
        BenchError: there are fewer than three speakers, so that the splits could not be of different ones.
    """
    audio = root / AUDIO
    utterances = [
        Utterance(path.name.removesuffix(MICROPHONE), path.parent.name, path)
        for path in sorted(audio.glob(f"*/*{MICROPHONE}"))
    ]
    speakers = {utterance.speaker for utterance in utterances}
    if len(speakers) < len(SPLITS):
        raise BenchError(
            f"{audio} has {len(utterances)} files *{MICROPHONE} of {len(speakers)} speakers; expected {LAYOUT}, "
            "of at least three speakers, one for each split. Unpack the corpus again."
        )
    return utterances


def speakers_of(split: str, speakers: set[str], seed: int) -> list[str]:
    """The speakers of ``split``: drawn by ``seed``, in no other split, at least one."""
    order = np.random.default_rng(seed).permutation(sorted(speakers))
    first = max(1, round(SHARES["train"] * len(order)))
    second = max(first + 1, round((1 - SHARES["eval"]) * len(order)))
    first, second = min(first, len(order) - 2), min(second, len(order) - 1)
    bounds = {"train": (0, first), "dev": (first, second), "eval": (second, len(order))}
    return sorted(map(str, order[slice(*bounds[split])]))


def check_alignment(folder: Path, utterances: list[Utterance]) -> None:
    """Every utterance has its alignment in ``folder``."""
    if not folder.is_dir():
        raise BenchError(f"Alignment folder {folder} does not exist: expected p225/p225_001.txt and so on in it.")
    missing = [path for u in utterances if not (path := alignment_path(folder, u)).is_file()]
    if missing:
        raise BenchError(
            f"Alignment folder {folder} lacks {len(missing)} of {len(utterances)} files: {first_few(missing, folder)}. "
            "Expected one for every utterance, with a line 'start end' in seconds for each stretch of speech."
        )


def first_few(paths: list[Path], folder: Path) -> str:
    """The first paths, relative to ``folder``, for a message."""
    names = [str(path.relative_to(folder)) for path in paths[:NAMED]]
    return ", ".join(names) + (", …" if len(paths) > NAMED else "")
