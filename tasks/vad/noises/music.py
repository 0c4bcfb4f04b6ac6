"""Tunes of plucked or blown tones."""

import numpy as np

from tasks._speech import SAMPLE_RATE, Signal
from tasks.vad.noises.parts import add_at, harmonics, over_noise

MAJOR_SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12])  # semitones above the lowest note


def music(rng: np.random.Generator, count: int) -> Signal:
    """One to three voices of random notes of a scale, with a slight vibrato."""
    total = np.zeros(count)
    for _ in range(rng.integers(1, 4)):
        _add_voice(rng, total)
    return over_noise(rng, total, 0.05)


def _add_voice(rng: np.random.Generator, total: Signal) -> None:
    lowest_hz, partials = rng.uniform(100, 500), np.arange(1, rng.integers(4, 15))
    decay, slope_db = rng.uniform(1, 8), rng.uniform(-9, -2)
    start = 0
    while start < len(total):
        length = int(rng.choice([0.125, 0.25, 0.5]) * SAMPLE_RATE * 1.1)
        hertz = lowest_hz * 2 ** (rng.choice(MAJOR_SCALE) / 12)
        time = np.arange(length) / SAMPLE_RATE
        phase = 2 * np.pi * hertz * np.cumsum(1 + 0.004 * np.sin(2 * np.pi * 5 * time)) / SAMPLE_RATE
        loud = np.where(partials * hertz < 7500, 10 ** (slope_db * np.log2(partials) / 20), 0)
        add_at(total, start, harmonics(phase, loud) * np.exp(-decay * time) * np.minimum(1, 80 * time))
        start += length
