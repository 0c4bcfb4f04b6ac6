"""Pitch as a vocoder estimates it, the pulses it makes of it, and the filter it sends them through."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from tasks._speech import FRAME, SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import SPAN, add_up, cut, hann, on_samples, real, spectrum
from tasks.antispoof.attacks.stft import SIZE, Spectra, fitted

WINDOW = 4 * FRAME  # each response is used for 20 ms, faded in and out
Track = NDArray[np.float64]


def estimated_pitch(rng: np.random.Generator, f0_hz: Floats, error: float = 0.01) -> tuple[Track, Track]:
    """Pitch in Hz without gaps, and voicing from 0 to 1, with the small errors of an estimator; (frames,) both.

    Args:
        rng: source of the errors.
        f0_hz: true pitch, 0 where unvoiced.
        error: scale of the slow relative errors of the pitch.
    """
    voiced = f0_hz > 0
    pitch = np.full(len(f0_hz), 120.0)
    if voiced.any():
        pitch = np.interp(np.arange(len(f0_hz)), np.flatnonzero(voiced), f0_hz[voiced])
    wander = gaussian_filter1d(rng.standard_normal(len(pitch)), 3)
    pitch = gaussian_filter1d(pitch, 2) * (1 + 2 * error * wander)
    decision = uniform_filter1d(voiced.astype(float), 5) + rng.normal(0, 0.08, len(pitch)) > 0.5
    return pitch, uniform_filter1d(decision.astype(float), 3)


def pulse_train(pitch_hz: Floats, count: int) -> Signal:
    """One pulse a period, of unit power whatever the pitch, each shared by the two samples it falls between."""
    per_sample = on_samples(pitch_hz, count) / SAMPLE_RATE
    phase = np.cumsum(per_sample)
    whole = np.floor(phase)
    at = np.flatnonzero(np.diff(whole) > 0)
    late = (whole[at] + 1 - phase[at]) / per_sample[at]
    height = np.sqrt(1 / per_sample[at])
    train = np.zeros(count)
    train[at] += (1 - late) * height
    train[at + 1] += late * height
    return train


def filtered(parts: list[tuple[Signal, Spectra]], count: int) -> Signal:
    """The sum of excitations, each through its own filter that changes every 5 ms: (count,).

    Args:
        parts: pairs of an excitation, (count,), and the responses of its filter, (frames, 257).
        count: samples of the result.
    """
    products = []
    for excitation, responses in parts:
        padded = np.pad(excitation, (WINDOW // 2, WINDOW))
        frames = cut(padded, WINDOW, FRAME)[: len(responses)] * hann(WINDOW)
        products.append(spectrum(frames, SPAN) * spectrum(real(responses, SIZE), SPAN))
    # Four Hann windows overlap everywhere, and add up to 2.
    return fitted(add_up(real(np.sum(products, axis=0), SPAN), FRAME)[WINDOW // 2 :] * 0.5, count)


def noise(rng: np.random.Generator, count: int) -> Signal:
    """White noise of unit power, (count,)."""
    return rng.standard_normal(count, dtype=np.float32).astype(np.float64)
