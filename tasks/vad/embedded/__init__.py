"""The embedded corpus: generated speech laid out as VCTK is, generated noises laid out as ESC-50 is.

It needs no download and is the same on every run and for any number of processes, because every step of every file
draws from a generator of its own. It says nothing about how well real speech is detected in real noise.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from tasks._speech import FRAME
from tasks._speech.audio import write_audio
from tasks._speech.channel import record
from tasks._speech.phones import Pauses
from tasks._speech.speaker import Speaker, draw_speaker
from tasks._speech.synthesis import synthesise
from tasks._workers import in_processes
from tasks.vad.activity import write_intervals
from tasks.vad.embedded.noise import BABBLE, NoiseJob, clip_of, noise_jobs, write_noise
from tasks.vad.embedded.spec import ALIGNMENT, NOISE, CorpusSpec, Stage, utterance_of
from tasks.vad.esc50 import AUDIO, write_table
from tasks.vad.vctk import alignment_path

GENERATOR_VERSION = 2  # raise it whenever the same spec gives other samples
PAUSES = Pauses(0.45, (0.15, 1.4))


class SpeechJob(NamedTuple):
    """One utterance to write."""

    speaker: int
    number: int


def write_corpus(folder: Path, spec: CorpusSpec, workers: int, progress: Callable[[float], None]) -> None:
    """Write speech, alignments and noises.

    Args:
        folder: gets three children; made if missing.
        spec: what to generate. The files depend on it alone, not on ``workers``.
        workers: processes.
        progress: called with the fraction done, after every file.
    """
    for name in spec.names:
        utterance_of(folder, name, 0).path.parent.mkdir(parents=True)
        (folder / ALIGNMENT / name).mkdir(parents=True)
    (folder / NOISE / AUDIO).mkdir(parents=True)
    speech = [SpeechJob(speaker, number) for speaker in range(spec.speakers) for number in range(spec.utterances)]
    noises = [(job, clip_of(folder, job)) for job in noise_jobs(spec)]
    write_table(folder / NOISE, [clip for _, clip in noises])
    babbles = [job for job, clip in noises if clip.category == BABBLE]
    others = [job for job, clip in noises if clip.category != BABBLE]
    write, total = partial(_write, folder, spec), len(speech) + len(noises)
    progress(0.0)
    # Babble is made of the speech that is there by then.
    for done, _ in enumerate(in_processes(write, [*speech, *others], workers, afterwards=babbles), start=1):
        progress(done / total)


def _write(folder: Path, spec: CorpusSpec, job: SpeechJob | NoiseJob) -> None:
    if isinstance(job, SpeechJob):
        _write_speech(folder, spec, job)
    else:
        write_noise(folder, spec, job)


def _write_speech(folder: Path, spec: CorpusSpec, job: SpeechJob) -> None:
    """One utterance, in a room and through a microphone, and when its phones were active; echoes are not speech."""
    stream = partial(spec.stream, job.speaker, job.number)
    speech = synthesise(stream(Stage.SPEECH), _speaker(spec, job.speaker), spec.seconds, PAUSES)
    utterance = utterance_of(folder, spec.names[job.speaker], job.number)
    write_audio(utterance.path, record(stream(Stage.RECORDING), speech.samples))
    write_intervals(alignment_path(folder / ALIGNMENT, utterance), speech.active, FRAME)


@lru_cache(maxsize=512)
def _speaker(spec: CorpusSpec, number: int) -> Speaker:
    return draw_speaker(spec.stream(number, 0, Stage.SPEAKER))
