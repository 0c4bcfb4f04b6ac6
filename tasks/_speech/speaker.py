"""Who is speaking: everything that stays the same from one utterance of a speaker to the next."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks._speech.phones import PHONES


@dataclass(frozen=True)
class Speaker:
    """Voice and habits of one speaker; drawn by :func:`draw_speaker`."""

    f0_hz: float
    formant_scale: float  # of the formants of an average man: a shorter vocal tract has higher ones
    intonation: float  # standard deviation of the accents, in natural logarithm of f0
    rate: float
    jitter: float  # standard deviation of the pitch period from pulse to pulse, relative
    shimmer: float  # the same for the amplitude
    open_quotient: float  # share of the pitch period in which the glottis is open
    return_phase: float  # time constant of its closing, as a share of the period
    breath: float  # aspiration noise that is always there
    bandwidth_scale: float
    high_formants_hz: tuple[float, float, float, float]  # F4 to F7, which do not move
    phone_formants: Mapping[str, tuple[float, float, float]]  # F1 to F3 of each phone, in Hz
    noise_scale: float  # of the centre of frication noise
    noise_gain: float
    coarticulation: float  # standard deviation of the smoothing of formants, in 5 ms frames
    vibrato_hz: float
    vibrato_depth: float


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A man or a woman, at random."""
    female = rng.random() < 0.5
    scale = rng.uniform(1.06, 1.24) if female else rng.uniform(0.92, 1.08)
    high = np.array([3500, 4500, 5700, 6900]) * scale * rng.uniform(0.95, 1.05, 4)
    # Clear of half the sampling rate, where a resonance would fold onto itself.
    high = np.minimum(high, 7600)
    return Speaker(
        f0_hz=rng.uniform(165, 245) if female else rng.uniform(85, 150),
        formant_scale=scale,
        intonation=rng.uniform(0.06, 0.22),
        rate=rng.uniform(0.85, 1.25),
        jitter=rng.uniform(0.003, 0.015),
        shimmer=rng.uniform(0.02, 0.10),
        open_quotient=rng.uniform(0.5, 0.8),
        return_phase=rng.uniform(0.015, 0.09),
        breath=rng.uniform(0.01, 0.08),
        bandwidth_scale=rng.uniform(0.8, 1.4),
        high_formants_hz=(high[0], high[1], high[2], high[3]),
        phone_formants=_draw_formants(rng, scale),
        noise_scale=rng.uniform(0.9, 1.12),
        noise_gain=rng.uniform(0.6, 1.6),
        coarticulation=rng.uniform(2.5, 5.0),
        vibrato_hz=rng.uniform(4, 6.5),
        vibrato_depth=rng.uniform(0, 0.012),
    )


def _draw_formants(rng: np.random.Generator, scale: float) -> dict[str, tuple[float, float, float]]:
    """Every phone's formants, scaled to the vocal tract and each off its average by 4 % (standard deviation)."""
    formants: dict[str, tuple[float, float, float]] = {}
    for name, phone in PHONES.items():
        f1, f2, f3 = np.array(phone.formants) * scale * rng.normal(1, 0.04, 3)
        formants[name] = (f1, f2, f3)
    return formants
