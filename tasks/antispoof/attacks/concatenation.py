"""Unit concatenation: pieces of genuine speech in the wrong order (A04, A16)."""

import numpy as np

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks.antispoof.attacks.stft import log_mel

HOP = 160  # samples between candidate starts
BANDS = 24
LONGEST_FADE = 48  # samples


def short_units(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Units of 40 to 140 ms."""
    return _rejoined(x, rng, (0.04, 0.14))


def long_units(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Units of 80 to 200 ms: fewer joins."""
    return _rejoined(x, rng, (0.08, 0.20))


def _rejoined(x: Signal, rng: np.random.Generator, seconds: tuple[float, float]) -> Signal:
    """Each piece of ``x`` is replaced by one of 6 to 29 that begin and end alike; fades of .6 to 3 ms."""
    choices = int(rng.integers(6, 30))
    fade = int(rng.uniform(0.0006, 0.003) * SAMPLE_RATE)
    ramp = np.linspace(0, 1, fade)
    bands = log_mel(x, BANDS, HOP, floor=1e-4)
    longest = int(seconds[1] * SAMPLE_RATE) + LONGEST_FADE
    y = np.zeros(len(x) + longest)
    start = 0
    while start < len(x):
        length = int(rng.uniform(*seconds) * SAMPLE_RATE)
        rank = int(rng.integers(choices))
        at = _similar(bands, start // HOP, (start + length) // HOP, rank) * HOP
        unit = x[at : at + length + fade]
        if len(unit) < length + fade:  # too close to the end: the piece stays what it is
            unit = x[start : start + length + fade]
        unit = unit.copy()
        if start and len(unit) > 2 * fade:
            unit[:fade] *= ramp
        if start + length < len(x) and len(unit) > 2 * fade:
            unit[-fade:] *= ramp[::-1]
        y[start : start + len(unit)] += unit
        start += length
    return y[: len(x)]


def _similar(bands: Signal, first: int, last: int, rank: int) -> int:
    """The frame that follows ``rank`` better ones as a start of a unit like the one from ``first`` to ``last``."""
    end = len(bands) - 1
    first, last = min(first, end), min(last, end)
    length = last - first
    distance = ((bands - bands[first]) ** 2).mean(1)
    distance += ((np.roll(bands, -length, axis=0) - bands[last]) ** 2).mean(1)
    distance[max(0, first - 8) : first + 8] += 1e3  # not the piece itself
    distance[max(0, len(bands) - length - 3) :] += 1e3  # nor one that runs off the end
    return int(np.argsort(distance, kind="stable")[min(rank, end)])
