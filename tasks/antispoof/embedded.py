"""The embedded corpus: generated speech, genuine and spoofed, on disk as ASVspoof 2019 LA is.

It needs no download and is the same on every run and for any number of processes, because every step of every
utterance draws from a generator of its own. It says nothing about how well real attacks are detected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from bench import SPLITS, BenchError
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.audio import write_audio
from tasks._speech.channel import Line, record, transmit
from tasks._speech.speaker import Speaker, draw_speaker
from tasks._speech.synthesis import synthesise
from tasks._workers import in_processes
from tasks.antispoof.asvspoof import BONAFIDE, Utterance, audio_path, write_protocol
from tasks.antispoof.attacks import KNOWN, UNSEEN

GENERATOR_VERSION = 2  # raise it whenever the same spec gives other samples
BONAFIDE_SHARE = {"train": 0.4, "dev": 0.4, "eval": 0.3}
MOST = 100_000  # utterances, or speakers, of a split
MARGIN_SECONDS = 0.15  # made at both ends and cut off: framed processing shows at the edges of a waveform
LETTER = {"train": "T", "dev": "D", "eval": "E"}


class Stage(IntEnum):
    """What a random stream is for."""

    PLAN = 0
    SPEAKER = 1
    SPEECH = 2
    RECORDING = 3
    ATTACK = 4
    TRANSMISSION = 5


@dataclass(frozen=True)
class CorpusSpec:
    """Everything, with :data:`GENERATOR_VERSION`, that decides the samples of a corpus.

    Attributes:
        seed: of all random streams, from 0 to 2**32 - 1.
        seconds: length of every utterance.
        utterances: how many in train, dev and eval.
        speakers: how many in train, dev and eval; no speaker is in two of them.
    """

    seed: int = 0
    seconds: float = 2.0
    utterances: tuple[int, int, int] = (2400, 900, 1400)
    speakers: tuple[int, int, int] = (60, 30, 40)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"Corpus seed {self.seed}: expected a whole number from 0 to 4294967295.")
        if not 0.5 <= self.seconds <= 60:
            raise BenchError(f"Utterances of {self.seconds:g} s: expected 0.5 to 60 s.")
        for split, utterances, speakers in zip(SPLITS, self.utterances, self.speakers, strict=True):
            if utterances < 20 or speakers < 1:
                raise BenchError(
                    f"{utterances} utterances of {speakers} speakers in {split}: expected at least 20 utterances "
                    "and one speaker, so that every attack occurs."
                )
            if max(utterances, speakers) > MOST:
                raise BenchError(
                    f"{utterances} utterances of {speakers} speakers in {split}: expected at most {MOST} of each."
                )


def write_corpus(
    folder: Path, spec: CorpusSpec, workers: int = 1, progress: Callable[[float], None] | None = None
) -> None:
    """Write the corpus, audio and protocols, in the layout of ASVspoof 2019 LA.

    Args:
        folder: becomes the root of the corpus; made if missing.
        spec: what to generate. The files depend on it alone, not on ``workers``.
        workers: processes.
        progress: called with the fraction done, after every utterance.
    """
    jobs = [(split, index) for split in range(len(SPLITS)) for index in range(spec.utterances[split])]
    for split, name in enumerate(SPLITS):
        rows = [_utterance(folder, spec, split, index) for index in range(spec.utterances[split])]
        write_protocol(folder, name, rows)
        rows[0].path.parent.mkdir(parents=True, exist_ok=True)
    if progress:
        progress(0.0)
    for done, _ in enumerate(in_processes(partial(_write_one, folder, spec), jobs, workers), start=1):
        if progress:
            progress(done / len(jobs))


def generate(spec: CorpusSpec, split: int, index: int) -> Signal:
    """Samples of one utterance, in [-1, 1): (seconds * 16000,)."""
    attack, speaker_number = plan(spec, split)[index]
    stream = partial(_stream, spec.seed, split, index)
    count = round(spec.seconds * SAMPLE_RATE)
    margin = round(MARGIN_SECONDS * SAMPLE_RATE)
    speaker = _speaker(spec.seed, split, speaker_number)
    # A little longer than needed: whole 5 ms frames only.
    speech = synthesise(stream(Stage.SPEECH), speaker, (count + 2 * margin) / SAMPLE_RATE + 0.01)
    samples = record(stream(Stage.RECORDING), speech.samples)
    if attack != BONAFIDE:
        samples = {**KNOWN, **UNSEEN}[attack](samples, speech.f0_hz, stream(Stage.ATTACK))
    samples = samples[margin : margin + count]
    return transmit(stream(Stage.TRANSMISSION), samples, Line())


def _stream(seed: int, split: int, item: int, stage: Stage) -> np.random.Generator:
    return np.random.default_rng([seed, split, item, stage])


@lru_cache(maxsize=512)
def _speaker(seed: int, split: int, number: int) -> Speaker:
    return draw_speaker(_stream(seed, split, number, Stage.SPEAKER))


@lru_cache(maxsize=6)
def plan(spec: CorpusSpec, split: int) -> tuple[tuple[str, int], ...]:
    """Attack (or bona fide) and speaker of every utterance of a split; each attack about equally often."""
    rng = _stream(spec.seed, split, 0, Stage.PLAN)
    count, name = spec.utterances[split], SPLITS[split]
    attacks = list(UNSEEN if name == "eval" else KNOWN)
    genuine = round(count * BONAFIDE_SHARE[name])
    labels = [BONAFIDE] * genuine + [attacks[i % len(attacks)] for i in range(count - genuine)]
    order = rng.permutation(count)
    speakers = rng.integers(spec.speakers[split], size=count)
    return tuple((labels[i], int(speaker)) for i, speaker in zip(order, speakers, strict=True))


def _utterance(folder: Path, spec: CorpusSpec, split: int, index: int) -> Utterance:
    name = SPLITS[split]
    attack, number = plan(spec, split)[index]
    key = f"LA_{LETTER[name]}_{1_000_000 + index}"
    speaker = f"LA_{sum(spec.speakers[:split]) + number + 1:04d}"
    return Utterance(key, speaker, attack, attack == BONAFIDE, audio_path(folder, name, key))


def _write_one(folder: Path, spec: CorpusSpec, job: tuple[int, int]) -> None:
    write_audio(_utterance(folder, spec, *job).path, generate(spec, *job))
