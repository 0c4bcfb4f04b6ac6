"""Linear prediction: an all-pole filter driven by pulses or noise (A02, A11)."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal
from scipy.ndimage import gaussian_filter1d

from tasks._speech import FRAME, SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import cut, on_samples, spectrum
from tasks.antispoof.attacks.excitation import estimated_pitch, filtered, noise, pulse_train
from tasks.antispoof.attacks.stft import SIZE, Spectra

WINDOW = 400  # 25 ms
EMPHASIS = 0.9
Coefficients = NDArray[np.float64]


def pulse_or_noise(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """18 poles; pulses where voiced, noise elsewhere."""
    pitch, voicing = estimated_pitch(rng, f0_hz)
    responses = _responses(x, len(pitch), order=18, smoothing=0.0)
    return _spoken(responses, pulse_train(pitch, len(x)), noise(rng, len(x)), voicing)


def mixed_excitation(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """24 poles and a smoothed gain; voiced speech is pulses below 3 to 5 kHz and noise above."""
    pitch, voicing = estimated_pitch(rng, f0_hz)
    responses = _responses(x, len(pitch), order=24, smoothing=1.0)
    pulses, hiss = pulse_train(pitch, len(x)), noise(rng, len(x))
    low_pass = signal.firwin(65, rng.uniform(3000, 5000), fs=SAMPLE_RATE)
    pulses = signal.oaconvolve(pulses - 0.9 * hiss, low_pass, mode="same") + 0.9 * hiss
    return _spoken(responses, pulses, hiss, voicing)


def _spoken(responses: Spectra, voiced: Signal, unvoiced: Signal, voicing: Floats) -> Signal:
    excitation = np.where(on_samples(voicing, len(voiced)) > 0.5, voiced, unvoiced)
    emphasised = filtered([(excitation, responses)], len(voiced))
    return np.asarray(signal.lfilter([1], [1, -EMPHASIS], emphasised))


def _responses(x: Signal, frames: int, order: int, smoothing: float) -> Spectra:
    """Spectra of the all-pole filter of each 5 ms frame, gain included: (frames, 257)."""
    emphasised = signal.lfilter([1, -EMPHASIS], [1], x)
    padded = np.pad(emphasised, (WINDOW // 2, WINDOW))
    windowed = cut(padded, WINDOW, FRAME)[:frames] * np.hamming(WINDOW)
    power = np.abs(spectrum(windowed, 2 * SIZE)) ** 2
    lags = fft.irfft(power, axis=1)[:, : order + 1]
    # A floor of noise keeps the recursion stable where a frame is silent or a pure tone.
    lags[:, 0] = lags[:, 0] * 1.0005 + 1e-7
    poles, residual = _levinson(lags)
    gain = np.sqrt(np.maximum(residual, 1e-12) / WINDOW * 2.5)
    if smoothing:
        gain = np.exp(gaussian_filter1d(np.log(gain), smoothing))
    return gain[:, None] / spectrum(poles, SIZE)


def _levinson(lags: Coefficients) -> tuple[Coefficients, NDArray[np.float64]]:
    """Levinson and Durbin's recursion for all frames at once.

    Args:
        lags: autocorrelation, (frames, order + 1).

    Returns:
        Prediction polynomials, (frames, order + 1) with a leading 1, and the power they leave, (frames,).
    """
    # Frames lie along the second axis here: each step then works on whole rows.
    lags = np.ascontiguousarray(lags.T)
    poles = np.zeros_like(lags)
    poles[0] = 1
    residual = lags[0].copy()
    for i in range(1, len(lags)):
        mismatch = lags[i] + np.einsum("jt,jt->t", poles[1:i], lags[i - 1 : 0 : -1])
        reflection = -mismatch / residual
        poles[1:i] = poles[1:i] + reflection * poles[i - 1 : 0 : -1]
        poles[i] = reflection
        residual *= 1 - reflection**2
    return poles.T, residual
