"""Pitch, envelope and aperiodicity, taken apart and put together again, after WORLD (A03, A07, A14, A15).

The decomposition is that of M. Morise, F. Yokomori and K. Ozawa (2016), much simplified.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal
from scipy.ndimage import gaussian_filter1d

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks._speech.channel import unit_level
from tasks._speech.frames import on_samples
from tasks.antispoof.attacks.envelope import (
    cepstral_envelope,
    from_log_spectrum,
    minimum_phase,
    to_log_spectrum,
    warped,
)
from tasks.antispoof.attacks.excitation import estimated_pitch, filtered, noise, pulse_train
from tasks.antispoof.attacks.stft import BINS, SIZE

# Gain of an analysis window on white noise: a magnitude of this much stands for a power of 1.
ANALYSIS_GAIN = float(np.sqrt(3 / 8 * SIZE))


@dataclass(frozen=True)
class Changes:
    """What is done to the parameters before the waveform is made.

    Attributes:
        smoothing: of the envelope over time, standard deviation in 5 ms frames.
        order: cepstral coefficients of the envelope that are kept; all when None.
        variance: factor on the deviation of the envelope from its mean over the utterance.
        pitch: factor on the pitch.
        warp: factor on the frequencies of the envelope.
    """

    smoothing: float = 0.0
    order: int | None = None
    variance: float = 1.0
    pitch: float = 1.0
    warp: float = 1.0


def resynthesise(x: Signal, f0_hz: Floats, rng: np.random.Generator, changes: Changes) -> Signal:
    """Analysis, ``changes``, and synthesis with minimum phase; noise takes over above 2.5 to 6 kHz."""
    pitch, voicing = estimated_pitch(rng, f0_hz, error=0.005)
    envelope = cepstral_envelope(x, pitch, changes.order)
    pitch, voicing = pitch[: len(envelope)], voicing[: len(envelope)]
    if changes.smoothing:
        envelope = gaussian_filter1d(envelope, changes.smoothing, axis=0)
    if changes.variance != 1:
        mean = envelope.mean(axis=0)
        envelope = mean + (envelope - mean) * changes.variance
    if changes.warp != 1:
        envelope = from_log_spectrum(warped(to_log_spectrum(envelope), changes.warp))
    responses = minimum_phase(envelope) / ANALYSIS_GAIN
    frequency = np.arange(BINS) * SAMPLE_RATE / SIZE
    aperiodicity = 0.05 + 0.9 / (1 + np.exp(-(frequency - rng.uniform(2500, 6000)) / 600))
    of_noise = np.where(voicing[:, None] > 0.5, aperiodicity**2, 1.0)
    voiced = on_samples(voicing, len(x))
    pulses = pulse_train(pitch * changes.pitch, len(x)) * voiced
    periodic = responses * np.sqrt(1 - aperiodicity**2)
    return filtered([(pulses, periodic), (noise(rng, len(x)), responses * of_noise)], len(x))


def vocoded(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Nothing changed: the artefacts of the vocoder itself."""
    return resynthesise(x, f0_hz, rng, Changes())


def statistical(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Oversmoothed, as statistical parametric synthesis is: few coefficients, slow, too close to their mean."""
    return resynthesise(x, f0_hz, rng, Changes(smoothing=3.0, order=30, variance=0.85))


def converted(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Another pitch, .8 to 1.25 times, and a vocal tract to go with it."""
    pitch = rng.uniform(0.8, 1.25)
    warp = float(np.clip(np.sqrt(pitch), 0.88, 1.12))
    return resynthesise(x, f0_hz, rng, Changes(smoothing=1.0, pitch=pitch, warp=warp))


def high_band_only(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """The waveform is kept below 1.5 to 2.5 kHz, vocoded above."""
    low_pass = signal.firwin(129, rng.uniform(1500, 2500), fs=SAMPLE_RATE)
    level = np.sqrt(np.mean(x * x))
    imitation = unit_level(resynthesise(x, f0_hz, rng, Changes())) * level
    return np.asarray(imitation + signal.oaconvolve(x - imitation, low_pass, mode="same"))
