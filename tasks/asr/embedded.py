"""The embedded corpus: generated speakers say digits and commands, on disk as LibriSpeech is.

It needs no download and is the same on every run and for any number of processes, because every step of every
utterance draws from a generator of its own. It says nothing about how well real speech is recognised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from bench import SPLITS, BenchError
from tasks._speech import FRAME, SAMPLE_RATE
from tasks._speech.audio import write_audio
from tasks._speech.channel import record
from tasks._speech.phones import Segment, draw_pause, draw_segment
from tasks._speech.speaker import Speaker, draw_speaker
from tasks._speech.synthesis import speak
from tasks._workers import in_processes
from tasks.asr.librispeech import FOLDERS, write_transcripts
from tasks.asr.vocabulary import COMMANDS, DIGITS, LEXICON

GENERATOR_VERSION = 2  # raise it whenever the same spec gives other samples
MOST = 100_000  # utterances, or speakers, of a split
CHAPTER = "1"
VARIANT_SHARE = 0.25  # of the words that have another pronunciation
PAUSE_SHARE = 0.75  # of the words: strings are read out clearly
PAUSE_SECONDS = (0.05, 0.2)


class Stage(IntEnum):
    """What a random stream is for."""

    SPEAKER = 0
    WORDS = 1
    SPEECH = 2
    RECORDING = 3


@dataclass(frozen=True)
class CorpusSpec:
    """Everything, with :data:`GENERATOR_VERSION`, that decides the samples of a corpus.

    Attributes:
        seed: of all random streams, from 0 to 2**32 - 1.
        seconds: no utterance is longer.
        utterances: how many in train, dev and eval.
        speakers: how many in train, dev and eval; no speaker is in two of them.
        words: fewest and most words of an utterance.
    """

    seed: int
    seconds: float
    utterances: tuple[int, int, int]
    speakers: tuple[int, int, int]
    words: tuple[int, int]

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"Corpus seed {self.seed}: expected a whole number from 0 to 4294967295.")
        if not 1 <= self.words[0] <= self.words[1] <= 100:
            raise BenchError(f"Utterances of {self.words} words: expected from 1 to 100, the fewest first.")
        for split, utterances, speakers in zip(SPLITS, self.utterances, self.speakers, strict=True):
            if not 1 <= speakers <= utterances <= MOST:
                raise BenchError(
                    f"{utterances} utterances of {speakers} speakers in {split}: expected 1 to {MOST} of each, and no "
                    "more speakers than utterances."
                )

    def chapter(self, root: Path, split: int, index: int) -> Path:
        """The folder of an utterance; utterances take turns among the speakers of a split."""
        number = 1 + sum(self.speakers[:split]) + index % self.speakers[split]
        return root / FOLDERS[SPLITS[split]] / f"{number:04d}" / CHAPTER

    def stream(self, split: int, item: int, stage: Stage) -> np.random.Generator:
        """Random numbers for one purpose."""
        return np.random.default_rng([self.seed, split, item, stage])


def write_corpus(folder: Path, spec: CorpusSpec, workers: int, progress: Callable[[float], None]) -> None:
    """Write audio and transcripts in the layout of LibriSpeech.

    Args:
        folder: becomes the root of the corpus; made if missing.
        spec: what to generate. The files depend on it alone, not on ``workers``.
        workers: processes.
        progress: called with the fraction done, after every utterance.
    """
    jobs = [(split, index) for split in range(len(SPLITS)) for index in range(spec.utterances[split])]
    said: dict[Path, dict[str, tuple[str, ...]]] = {}
    for split, index in jobs:
        chapter = spec.chapter(folder, split, index)
        said.setdefault(chapter, {})[key_of(chapter, index)] = tuple(draw_words(spec, split, index)[0])
    for chapter, words in said.items():
        chapter.mkdir(parents=True)
        write_transcripts(chapter, words)
    progress(0.0)
    for done, _ in enumerate(in_processes(partial(write_one, folder, spec), jobs, workers), start=1):
        progress(done / len(jobs))


def key_of(chapter: Path, index: int) -> str:
    """The name of an utterance: ``0001-1-000007``."""
    return f"{chapter.parent.name}-{chapter.name}-{index:06d}"


def draw_words(spec: CorpusSpec, split: int, index: int) -> tuple[list[str], list[Segment]]:
    """Digits or commands, and the phones and pauses that they are spoken as; no more words than there is time for."""
    rng, speaker = spec.stream(split, index, Stage.WORDS), _speaker(spec, split, index % spec.speakers[split])
    most, room = int(rng.integers(spec.words[0], spec.words[1] + 1)), int(spec.seconds * SAMPLE_RATE / FRAME)
    choice = DIGITS if rng.random() < 0.5 else COMMANDS
    words, segments = list[str](), [draw_pause(rng, PAUSE_SECONDS)]
    while len(words) < most:
        word = choice[int(rng.integers(len(choice)))]
        first, *others = LEXICON[word]
        phones = others[int(rng.integers(len(others)))] if others and rng.random() < VARIANT_SHARE else first
        spoken = [draw_segment(rng, phone, speaker.rate) for phone in phones]
        if rng.random() < PAUSE_SHARE:
            spoken.append(draw_pause(rng, PAUSE_SECONDS))
        if words and sum(segment.frames for segment in (*segments, *spoken)) >= room:
            break
        words.append(word)
        segments += spoken
    return words, segments


@lru_cache(maxsize=512)
def _speaker(spec: CorpusSpec, split: int, number: int) -> Speaker:
    return draw_speaker(spec.stream(split, number, Stage.SPEAKER))


def write_one(folder: Path, spec: CorpusSpec, job: tuple[int, int]) -> None:
    """Write the audio of one utterance: ``job`` is the number of its split, and its own."""
    split, index = job
    chapter, speaker = spec.chapter(folder, split, index), _speaker(spec, split, index % spec.speakers[split])
    segments = draw_words(spec, split, index)[1]
    frames = min(int(spec.seconds * SAMPLE_RATE / FRAME), sum(segment.frames for segment in segments) + 1)
    speech = speak(spec.stream(split, index, Stage.SPEECH), speaker, segments, frames)
    samples = record(spec.stream(split, index, Stage.RECORDING), speech.samples)
    write_audio(chapter / f"{key_of(chapter, index)}.flac", samples)
