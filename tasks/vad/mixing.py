"""Noisy speech from clean speech and noise: what is said when, how loud the noise is, and which noise it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from bench import SPLITS, BenchError
from tasks._speech import SAMPLE_RATE, Bools, Signal
from tasks._speech.audio import read_recording
from tasks._speech.channel import FULL_SCALE, unit_level
from tasks.vad.activity import Intervals, active_by_energy, mask_of
from tasks.vad.esc50 import Clip
from tasks.vad.vctk import Utterance

SPEECH_SHARE = 0.55
LEVEL_DB = (-38.0, -18.0)  # root mean square of a mixture, relative to full scale


class Stage(IntEnum):
    """What a random stream is for; apart from those of the embedded corpus."""

    SPEECH = 100
    MIXING = 101


@dataclass(frozen=True)
class MixSpec:
    """What to make of speech and noise; with the sources it decides every sample.

    Attributes:
        split: train, dev or eval.
        mixtures: how many.
        seconds: length of each.
        snr_ranges_db: ranges of the signal-to-noise ratio, which take turns.
        seed: of everything that is drawn.
    """

    split: str
    mixtures: int
    seconds: float
    snr_ranges_db: tuple[tuple[float, float], ...]
    seed: int

    @property
    def samples(self) -> int:
        """Samples of each mixture."""
        return round(self.seconds * SAMPLE_RATE)


LONGEST = 100_000  # frames of a noisy file
MOST = 1_000_000_000  # frames of a split, 160 GB


def check_lengths(mixtures: tuple[int, ...], crop_frames: int, frames: float) -> None:
    """A number of noisy files for each split, and crops no longer than a file."""
    if frames > LONGEST:
        raise BenchError(f"Files of {frames:g} frames are too long: at most {LONGEST} are made.")
    if not 0 < crop_frames <= frames:
        raise BenchError(f"Crops of {crop_frames} frames cannot be cut from files of {frames:g} frames.")
    if len(mixtures) != len(SPLITS) or min(mixtures) < 1:
        raise BenchError(f"mixtures is {mixtures}: expected how many noisy files to make for train, dev, eval.")
    if max(mixtures) * frames > MOST:
        raise BenchError(f"mixtures is {mixtures}, of {frames:g} frames each: expected at most {MOST} frames a split.")


@dataclass(frozen=True)
class Sources:
    """Speech and noise of one split.

    Attributes:
        speakers: the utterances of each of its speakers.
        noises: its noises.
        segments: where somebody speaks in an utterance; None where its energy tells what is speech.
        rates: of the files read so far, in samples a second.
    """

    speakers: list[list[Utterance]]
    noises: list[Clip]
    segments: Callable[[Utterance], Intervals | None]
    rates: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Mixture:
    """Noisy speech.

    Attributes:
        samples: (samples,) in [-1, 1).
        active: (samples,), true where somebody speaks.
        snr_range: which of the ranges its signal-to-noise ratio was drawn from.
    """

    samples: Signal
    active: Bools
    snr_range: int


def mix(sources: Sources, spec: MixSpec, index: int) -> Mixture:
    """Mixture number ``index``: one speaker, one noise, at a level of its own.

    The signal-to-noise ratio compares the noise to speech while it is active, pauses left out.
    """
    speaking, mixing = (
        np.random.default_rng([spec.seed, SPLITS.index(spec.split), index, stage])
        for stage in (Stage.SPEECH, Stage.MIXING)
    )
    speech, active = _speak(speaking, sources, spec.samples)
    noise = _noise(mixing, sources, spec.samples)
    snr_range = index % len(spec.snr_ranges_db)
    snr_db = mixing.uniform(*spec.snr_ranges_db[snr_range])
    mixture = unit_level(speech + noise * (10 ** (-snr_db / 20)))
    mixture *= 10 ** (mixing.uniform(*LEVEL_DB) / 20)
    mixture += mixing.standard_normal(len(mixture), dtype=np.float32) * (0.5 / FULL_SCALE)  # as 16 bits would
    return Mixture(np.clip(mixture, -1, 1), active, snr_range)


def _speak(rng: np.random.Generator, sources: Sources, count: int) -> tuple[Signal, Bools]:
    """Utterances of one speaker with pauses between them: ``count`` samples from a random point on.

    Active speech has a root mean square of 1. Pauses are as long, on average, as brings the share of speech to 55 %.
    """
    utterances = sources.speakers[int(rng.integers(len(sources.speakers)))]
    speech, activity, filled, skipped = [], [], 0, 0
    while filled < count + skipped:
        samples, active = _utterance(sources, utterances[int(rng.integers(len(utterances)))])
        needed = active.sum() / SPEECH_SHARE - len(samples)
        pause = int(max(0.0, needed) * rng.uniform(0.5, 1.5))
        speech.append(np.pad(samples, (0, pause)))
        activity.append(np.pad(active, (0, pause)))
        if not filled:
            skipped = int(rng.integers(len(speech[0])))
        filled += len(speech[-1])
    window = slice(skipped, skipped + count)
    return np.concatenate(speech)[window], np.concatenate(activity)[window]


def _utterance(sources: Sources, utterance: Utterance) -> tuple[Signal, Bools]:
    samples, rate, _ = read_recording(utterance.path, "the corpus")
    sources.rates.add(rate)
    segments = sources.segments(utterance)
    active = active_by_energy(samples) if segments is None else mask_of(segments, len(samples))
    if segments is not None and not active.any():
        raise BenchError(
            f"{utterance.path} has no speech before its end ({len(samples)} samples): correct its segments."
        )
    level = np.sqrt(np.mean(samples[active] ** 2)) if active.any() else 0
    return samples / (level + 1e-9), active


def _noise(rng: np.random.Generator, sources: Sources, count: int) -> Signal:
    """A noise from a random point on, repeated as needed, with a root mean square of 1: (count,)."""
    clip = sources.noises[int(rng.integers(len(sources.noises)))]
    samples, rate, _ = read_recording(clip.path, "its table")
    sources.rates.add(rate)
    sounding = np.flatnonzero(samples)
    if not len(sounding):
        raise BenchError(f"Noise file {clip.path} is silent: remove its line from esc50.csv, or unpack it again.")
    samples = samples[sounding[0] : sounding[-1] + 1]  # many noises of ESC-50 end in digital silence
    return unit_level(np.resize(np.roll(samples, -int(rng.integers(len(samples)))), count))
