"""Rain, wind, knocks, and animals that sound nearly like voices."""

import numpy as np

from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.channel import coloured_noise, unit_level
from tasks.vad.noises.parts import add_at, harmonics, over_noise, slow_level


def wind(rng: np.random.Generator, count: int) -> Signal:
    """Noise that falls by 7 to 12 dB an octave and comes in gusts."""
    noise = coloured_noise(rng, count, rng.uniform(-12, -7))
    return unit_level(noise * slow_level(rng, count, rng.uniform(0.5, 3), 8))


def impulses(rng: np.random.Generator, count: int) -> Signal:
    """Knocks and clicks of 10 to 150 ms, 1.5 to 8 a second on average, over a little coloured noise."""
    total = np.zeros(count)
    for _ in range(rng.poisson(count / SAMPLE_RATE * rng.uniform(1.5, 8)) + 1):
        length = int(rng.uniform(0.01, 0.15) * SAMPLE_RATE)
        time = np.arange(length)
        ring = np.sin(2 * np.pi * rng.uniform(300, 5000) * time / SAMPLE_RATE) * rng.uniform(0, 1)
        knock = (ring + rng.standard_normal(length)) * np.exp(-5 * time / length) * rng.uniform(0.3, 1)
        add_at(total, int(rng.integers(count)), knock)
    return over_noise(rng, total, 10 ** (rng.uniform(-25, -8) / 20))


def rain(rng: np.random.Generator, count: int) -> Signal:
    """Eighty to six hundred drops a second, each a ringing of 1.5 to 7 kHz, over flat noise."""
    time = np.arange(300)
    total = np.zeros(count + len(time))
    drops = int(count / SAMPLE_RATE * rng.uniform(80, 600))
    for drop in range(12):  # as many kinds of drop
        ring = np.exp(-time / rng.uniform(15, 60)) * np.sin(2 * np.pi * rng.uniform(1500, 7000) * time / SAMPLE_RATE)
        hits = np.zeros(count)
        number = len(range(drop, drops, 12))
        np.add.at(hits, rng.integers(0, count, number), rng.exponential(1, number))
        for at in np.flatnonzero(hits):
            total[at : at + len(time)] += hits[at] * ring
    return over_noise(rng, total[:count], rng.uniform(0.2, 1), 0)


def animal(rng: np.random.Generator, count: int) -> Signal:
    """Barks and caws: harmonics of 150 to 700 Hz with one formant, which are easily taken for a voice."""
    hertz, formant = rng.uniform(150, 700), rng.uniform(600, 2200)
    numbers = np.arange(1, 20)
    amplitudes = np.where(numbers * hertz * 1.6 < 7500, 1 / (1 + ((numbers * hertz - formant) / 500) ** 2), 0)
    total, start = np.zeros(count), int(rng.uniform(0, 0.4) * SAMPLE_RATE)
    while start < count:
        length = int(rng.uniform(0.08, 0.5) * SAMPLE_RATE)
        pitch = hertz * rng.uniform(0.9, 1.1) * (1 + 0.5 * np.sin(np.pi * np.arange(length) / length))
        voice = harmonics(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE, amplitudes)
        add_at(total, start, (voice + 0.3 * rng.standard_normal(length)) * np.hanning(length))
        start += length + int(rng.uniform(0.1, 0.6) * SAMPLE_RATE)
    return over_noise(rng, total, 0.08)
