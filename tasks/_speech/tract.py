"""The vocal tract: resonances that move while they ring."""

import numpy as np
from numpy.typing import NDArray

from tasks._speech import FRAME, SAMPLE_RATE, Floats, Signal
from tasks._speech.articulation import Tracks
from tasks._speech.frames import SPAN, add_up, real, spectrum
from tasks._speech.speaker import Speaker

Coefficients = NDArray[np.float64]
NASAL_POLE_HZ = 250.0
NASAL_BANDWIDTH_HZ = 100.0
HIGH_BANDWIDTHS_HZ = (150.0, 220.0, 320.0, 450.0)  # of F4 to F7


def shape(voice: Signal, tracks: Tracks, speaker: Speaker) -> Signal:
    """``voice`` through seven formants in cascade and a nasal pole and zero, redrawn every 5 ms.

    Every frame of input rings through its own filter and the responses are added up, so that no filter state has
    to survive a change of coefficients. The narrowest formant has decayed by 60 dB where a response is cut.
    """
    poles, gain = _moving_formants(tracks, speaker)
    zeros, nasal_gain = _nasal_zero(tracks, speaker)
    response = gain[:, None] / spectrum(poles, SPAN)
    response *= spectrum(zeros * nasal_gain[:, None], SPAN)
    response *= _fixed_response(speaker)
    return _ring(voice, response)


def hiss(noise: Signal, tracks: Tracks) -> Signal:
    """``noise`` through one wide resonance (with zeros at 0 Hz and 8 kHz) that follows the place of articulation."""
    radius = np.exp(-np.pi * tracks.noise_bandwidth_hz / SAMPLE_RATE)
    poles = _resonance(np.minimum(tracks.noise_hz, 7400), tracks.noise_bandwidth_hz)
    band = np.zeros_like(poles)
    band[:, 0], band[:, 2] = 1 - radius, radius - 1
    size = 2 * FRAME  # a resonance this wide is gone after 5 ms
    response = spectrum(band, size) / spectrum(poles, size)
    return _ring(noise, response)


def _ring(x: Signal, responses: NDArray[np.complex128]) -> Signal:
    """Each 5 ms of ``x`` through its own frequency response, responses added up: the length of ``x``."""
    size = 2 * (responses.shape[1] - 1)
    frames = x.reshape(-1, FRAME)
    return add_up(real(spectrum(frames, size) * responses, size), FRAME)[: len(x)]


def _resonance(frequency: Floats, bandwidth: Floats) -> Coefficients:
    """Denominators of two-pole resonators with the given centres and bandwidths in Hz: (count, 3)."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    middle = -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
    return np.stack([np.ones_like(middle), middle, radius * radius], axis=1)


def _moving_formants(tracks: Tracks, speaker: Speaker) -> tuple[Coefficients, NDArray[np.float64]]:
    """The product of the denominators of F1 to F3, (frames, 7), and the gain that makes it 1 at 0 Hz."""
    f1, f2, f3 = np.minimum(tracks.formants, 7600).T
    damping = 60 * tracks.nasality
    closed = 40 * (tracks.voicing < 0.1)  # an open glottis damps the first formant
    bandwidths = (50 + 0.02 * f1 + damping + closed, 60 + 0.02 * f2 + damping, 90 + 0.02 * f3)
    product = np.ones((tracks.frames, 1))
    for frequency, bandwidth in zip((f1, f2, f3), bandwidths, strict=True):
        factor = _resonance(frequency, bandwidth * speaker.bandwidth_scale)
        longer = np.zeros((tracks.frames, product.shape[1] + 2))
        for j in range(3):
            longer[:, j : j + product.shape[1]] += factor[:, j : j + 1] * product
        product = longer
    return product, product.sum(axis=1)


def _nasal_zero(tracks: Tracks, speaker: Speaker) -> tuple[Coefficients, NDArray[np.float64]]:
    """A zero that sits on the nasal pole, and cancels it, until a nasal drives it up: (frames, 3), and its gain."""
    frequency = NASAL_POLE_HZ + 550 * tracks.nasality * speaker.formant_scale
    zero = _resonance(frequency, np.full(tracks.frames, NASAL_BANDWIDTH_HZ))
    return zero, 1 / zero.sum(axis=1)


def _fixed_response(speaker: Speaker) -> NDArray[np.complex128]:
    """F4 to F7 and the nasal pole, which do not move, each 1 at 0 Hz: (SPAN // 2 + 1,)."""
    frequencies = np.array([*speaker.high_formants_hz, NASAL_POLE_HZ])
    bandwidths = np.array([*HIGH_BANDWIDTHS_HZ, NASAL_BANDWIDTH_HZ])
    bandwidths[:-1] *= speaker.bandwidth_scale
    poles = _resonance(frequencies, bandwidths)
    spectra = np.fft.rfft(poles, SPAN, axis=1) / poles.sum(axis=1, keepdims=True)
    return np.asarray(1 / np.prod(spectra, axis=0))
