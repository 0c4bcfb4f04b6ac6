"""The noises of the embedded corpus, laid out as ESC-50 is: the fold of eval has other kinds than those before it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.audio import read_recording, write_audio
from tasks._speech.channel import filtered, random_equaliser, unit_level
from tasks.vad.embedded.spec import NOISE, CorpusSpec, Stage, utterance_of
from tasks.vad.esc50 import AUDIO, FOLDS, Clip
from tasks.vad.noises import KNOWN, UNSEEN
from tasks.vad.noises.babble import babble
from tasks.vad.vctk import speakers_of

SECONDS = 5.0  # as in ESC-50
LEVEL = 0.05  # root mean square of a file, relative to full scale, ...
PEAK = 0.7  # ... unless its peak would be higher than this
BABBLE = "babble"
VOICES = {"train": (5, 8), "dev": (5, 8), "eval": (3, 3)}  # of babble


class NoiseJob(NamedTuple):
    """One noise file to write."""

    split: str
    fold: int
    kind: int
    number: int


def noise_jobs(spec: CorpusSpec) -> list[NoiseJob]:
    """All noise files, every kind equally often in every fold."""
    return [
        NoiseJob(split, fold, kind, number)
        for split, folds in FOLDS.items()
        for fold in folds
        for kind in range(len(_kinds(split)))
        for number in range(spec.noises)
    ]


def clip_of(folder: Path, job: NoiseJob) -> Clip:
    """The row of the table for a noise file."""
    name = f"{job.fold}-{100_000 + job.number}-A-{job.kind}.wav"
    return Clip(_kinds(job.split)[job.kind], job.fold, folder / NOISE / AUDIO / name)


def write_noise(folder: Path, spec: CorpusSpec, job: NoiseJob) -> None:
    """Draw and write one noise file; babble reads the speech of the corpus."""
    rng = spec.stream(job.fold, job.kind * spec.noises + job.number, Stage.NOISE)
    clip, count = clip_of(folder, job), round(SECONDS * SAMPLE_RATE)
    if clip.category == BABBLE:
        samples = babble(rng, count, _voices(rng, folder, spec, job.split))
    else:
        samples = (UNSEEN if job.split == "eval" else KNOWN)[clip.category](rng, count)
    samples = unit_level(filtered(samples, random_equaliser(rng), delay=64))
    write_audio(clip.path, samples * min(LEVEL, PEAK / np.abs(samples).max()))


def _voices(rng: np.random.Generator, folder: Path, spec: CorpusSpec, split: str) -> list[Signal]:
    """Utterances of different speakers of the split, as many as babble has there and the split can give."""
    fewest, most = VOICES[split]
    wanted = int(rng.integers(fewest, most + 1))
    speakers = rng.permutation(speakers_of(split, set(spec.names), spec.seed))[:wanted]
    utterances = [utterance_of(folder, str(name), int(rng.integers(spec.utterances))) for name in speakers]
    return [read_recording(utterance.path, "the corpus").samples for utterance in utterances]


def _kinds(split: str) -> list[str]:
    return [*(UNSEEN if split == "eval" else KNOWN), BABBLE]
