"""What several noises are made of: harmonics, slow changes of level, sounds that come and go."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks._speech.channel import coloured_noise, unit_level

CONTROL = 160  # samples from one value of a slow track to the next


def harmonics(phase: Floats, amplitudes: Floats, offsets: Floats | None = None) -> Floats:
    """The sum of the first ``len(amplitudes)`` harmonics of a tone with this phase in radians: the shape of ``phase``.

    Every harmonic is a power of the same phasor, which is many times cheaper than a sine of its own.
    """
    turn = np.exp(1j * phase)
    power, total = np.ones_like(turn), np.zeros(phase.shape)
    for number, amplitude in enumerate(amplitudes):
        power = power * turn
        shift = amplitude * np.exp(1j * (offsets[number] if offsets is not None else 0.0))
        total += (power * shift).imag
    return total


def slow_level(rng: np.random.Generator, count: int, rate_hz: float, depth_db: float) -> Signal:
    """A gain that wanders by ``depth_db`` (standard deviation) about ``rate_hz`` times a second: (count,)."""
    points = count // CONTROL + 2
    track = gaussian_filter1d(rng.standard_normal(points), SAMPLE_RATE / CONTROL / rate_hz / 2)
    track *= depth_db / (track.std() + 1e-9)
    return np.asarray(10 ** (np.interp(np.arange(count) / CONTROL, np.arange(points), track) / 20))


def over_noise(rng: np.random.Generator, sound: Floats, gain: float, slope_db: float | None = None) -> Signal:
    """``sound`` with coloured noise ``gain`` times its level, at a root mean square of 1."""
    noise = coloured_noise(rng, len(sound), slope_db)
    return unit_level(unit_level(sound) + noise * gain)


def add_at(total: Floats, start: int, sound: Floats) -> None:
    """Add ``sound`` to ``total`` from sample ``start``; what would stick out is cut off."""
    stop = min(len(total), start + len(sound))
    total[start:stop] += sound[: stop - start]
