"""Waveforms from mel magnitudes alone: the phase is made up (A01, A10)."""

import numpy as np

from tasks._speech import Floats, Signal
from tasks._speech.frames import on_samples
from tasks.antispoof.attacks.excitation import estimated_pitch, noise, pulse_train
from tasks.antispoof.attacks.stft import Spectra, istft, magnitude_through_mel, stft


def with_consistent_phase(magnitude: Signal, direction: Spectra, iterations: int, count: int) -> Signal:
    """``count`` samples whose magnitudes come close to ``magnitude`` (D. Griffin and J. Lim, 1984).

    Args:
        magnitude: wanted, (frames, 257).
        direction: complex numbers whose phase is the first guess, (frames, 257).
        iterations: how often the phase of the last guess is taken over; few leave the result buzzing.
        count: samples of the result.
    """
    guess = istft(magnitude * _unit(direction), count)
    for _ in range(iterations):
        guess = istft(magnitude * _unit(stft(guess)), count)
    return guess


def griffin_lim(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """40, 60 or 80 mel bands and two to eight iterations from a random phase."""
    magnitude = magnitude_through_mel(x, (40, 60, 80)[rng.integers(3)])
    drawn = rng.standard_normal((*magnitude.shape, 2), dtype=np.float32)
    random_phase = drawn.astype(np.float64).view(np.complex128)[..., 0]
    return with_consistent_phase(magnitude, random_phase, int(rng.integers(2, 9)), len(x))


def mel_with_excitation_phase(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """80 quantised mel bands, with the phase of pulses at the right pitch and up to two iterations."""
    magnitude = magnitude_through_mel(x, 80, step=rng.uniform(0.1, 0.5))
    pitch, voicing = estimated_pitch(rng, f0_hz)
    voiced = on_samples(voicing, len(x))
    pulses = pulse_train(pitch, len(x)) * voiced
    excitation = pulses + noise(rng, len(x)) * (1 - 0.9 * voiced) * 0.7
    return with_consistent_phase(magnitude, stft(excitation), int(rng.integers(0, 3)), len(x))


def _unit(spectra: Spectra) -> Spectra:
    return spectra / (np.abs(spectra) + 1e-8)
