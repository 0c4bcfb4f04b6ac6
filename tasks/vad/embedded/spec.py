"""What decides the samples of the embedded corpus, and where its files lie."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from bench import BenchError
from tasks.vad.vctk import Utterance, audio_path

MOST = 100_000  # utterances in all, or noises of a kind in a fold
SPEECH, NOISE, ALIGNMENT = "speech", "noise", "alignment"  # folders of the corpus


class Stage(IntEnum):
    """What a random stream is for."""

    SPEAKER = 0
    SPEECH = 1
    RECORDING = 2
    NOISE = 3


@dataclass(frozen=True)
class CorpusSpec:
    """Everything, with the version of the generator, that decides the samples of a corpus.

    Attributes:
        seed: of all random streams, from 0 to 2**32 - 1.
        speakers: how many; the splits divide them.
        utterances: of every speaker.
        noises: files of each kind of noise in each of five folds.
        seconds: length of an utterance.
    """

    seed: int
    speakers: int
    utterances: int
    noises: int
    seconds: float = 4.0

    def check(self) -> None:
        """Raise ``BenchError`` for a corpus that cannot be."""
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"Corpus seed {self.seed}: expected a whole number from 0 to 4294967295.")
        if self.speakers < 3 or self.utterances < 1 or self.noises < 1:
            raise BenchError(
                f"{self.speakers} speakers with {self.utterances} utterances each and {self.noises} noises of a kind: "
                "expected at least three speakers, one for each split, and at least one of the others."
            )
        if max(self.speakers * self.utterances, self.noises) > MOST:
            raise BenchError(
                f"{self.speakers} speakers with {self.utterances} utterances each and {self.noises} noises of a kind: "
                f"expected at most {MOST} utterances in all, and as many noises of a kind."
            )

    def stream(self, group: int, item: int, stage: Stage) -> np.random.Generator:
        """The random stream of one stage of one file: of a speaker and utterance, or of a fold and noise."""
        return np.random.default_rng([self.seed, group, item, stage])

    @property
    def names(self) -> list[str]:
        """The speakers, counted as in VCTK: ``p225`` is the first."""
        return [f"p{225 + number}" for number in range(self.speakers)]


def utterance_of(folder: Path, speaker: str, number: int) -> Utterance:
    """Utterance ``number`` of ``speaker`` in the corpus ``folder``."""
    key = f"{speaker}_{number + 1:03d}"
    return Utterance(key, speaker, audio_path(folder / SPEECH, speaker, key))
