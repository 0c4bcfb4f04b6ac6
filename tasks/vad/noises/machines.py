"""Mains hum, engines, sirens."""

import numpy as np

from tasks._speech import SAMPLE_RATE, Signal
from tasks.vad.noises.parts import add_at, harmonics, over_noise, slow_level


def hum(rng: np.random.Generator, count: int) -> Signal:
    """Twenty-four harmonics of 50, 60, 100 or 120 Hz over a little coloured noise."""
    hertz = rng.choice([50, 60, 100, 120]) * rng.uniform(0.99, 1.01)
    amplitudes = 10 ** (rng.normal(-0.6 * np.arange(1, 25), 5) / 20)
    tone = harmonics(2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE, amplitudes, rng.uniform(0, 6, 24))
    return over_noise(rng, tone, 10 ** (rng.uniform(-20, -3) / 20))


def engine(rng: np.random.Generator, count: int) -> Signal:
    """Twenty-nine harmonics of 40 to 120 Hz, whose pitch and level wander, over noise that falls by 5 dB an octave."""
    knots = rng.uniform(40, 120) * np.exp(np.cumsum(rng.normal(0, 0.08, 6)))
    hertz = np.interp(np.arange(count), np.linspace(0, count, 6), knots)
    amplitudes = 10 ** (rng.normal(-0.9 * np.arange(1, 30), 5) / 20)
    tone = harmonics(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE, amplitudes, rng.uniform(0, 6, 29))
    return over_noise(rng, tone * slow_level(rng, count, 2, 3), rng.uniform(0.1, 0.8), -5)


def siren(rng: np.random.Generator, count: int) -> Signal:
    """Alarms and birds: tones that slide or warble for .05 to 1 s, one after the other."""
    kind = rng.integers(3)
    lowest_hz = rng.uniform(500, 1200) if kind == 2 else rng.uniform(1500, 4500)
    seconds = (0.4, 1.0) if kind == 2 else (0.05, 0.25)
    total, start = np.zeros(count), 0
    while start < count:
        length = int(rng.uniform(*seconds) * SAMPLE_RATE)
        u = np.arange(length) / length
        slide = 1 + rng.uniform(-0.4, 0.4) * u
        if kind == 0:
            slide = slide + 0.15 * np.sin(2 * np.pi * u * rng.integers(1, 6))
        phase = 2 * np.pi * np.cumsum(lowest_hz * slide) / SAMPLE_RATE
        add_at(total, start, harmonics(phase, np.array([1, 0.3])) * np.hanning(length))
        start += length + int(rng.uniform(0.02, 0.5) * SAMPLE_RATE)
    return over_noise(rng, total, 0.1)
