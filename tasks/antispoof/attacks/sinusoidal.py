"""A harmonic sinusoidal model: one oscillator a harmonic, noise where there is no pitch (A06)."""

import numpy as np

from tasks._speech import FRAME, SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import on_samples
from tasks.antispoof.attacks.envelope import cepstral_envelope, minimum_phase, to_log_spectrum
from tasks.antispoof.attacks.excitation import Track, estimated_pitch, filtered, noise
from tasks.antispoof.attacks.source_filter import ANALYSIS_GAIN
from tasks.antispoof.attacks.stft import BINS, SIZE, with_phase

MOST_HARMONICS = 60


def sinusoidal(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Harmonics up to 5 to 7.8 kHz whose phases start at random and then keep in step with the pitch."""
    pitch, voicing = estimated_pitch(rng, f0_hz, error=0.004)
    envelope = cepstral_envelope(x, pitch)
    pitch, voicing = pitch[: len(envelope)], voicing[: len(envelope)]
    amplitudes = _amplitudes(to_log_spectrum(envelope), pitch, top_hz=rng.uniform(5000, 7800))
    phases = rng.uniform(0, 2 * np.pi, amplitudes.shape[1:])
    voiced = on_samples(voicing, len(x))
    hiss = filtered([(noise(rng, len(x)) * (1 - 0.95 * voiced), minimum_phase(envelope))], len(x))
    tones = _oscillators(amplitudes, phases, pitch, len(x)) * voiced
    return (tones + hiss) / ANALYSIS_GAIN


def _amplitudes(log_spectrum: Signal, pitch: Track, top_hz: float) -> Signal:
    """Amplitude of each harmonic in each frame, read off the envelope: (frames, harmonics)."""
    count = int(np.clip(top_hz / np.percentile(pitch, 30), 1, MOST_HARMONICS))
    frequency = pitch[:, None] * np.arange(1, count + 1)
    position = np.minimum(frequency / (SAMPLE_RATE / SIZE), BINS - 1.1)
    below = position.astype(int)
    share = position - below
    lower = np.take_along_axis(log_spectrum, below, axis=1)
    upper = np.take_along_axis(log_spectrum, below + 1, axis=1)
    # Power of the envelope is per bin; a harmonic collects that of a whole pitch period's worth of them.
    height = np.sqrt(2 * pitch / SAMPLE_RATE)[:, None]
    amplitude = np.exp(lower * (1 - share) + upper * share) * height * (frequency < top_hz)
    return np.asarray(amplitude)


def _oscillators(amplitudes: Signal, phases: Track, pitch: Track, count: int) -> Signal:
    """The sum over k of amplitude times cos(k * running phase + own phase), (count,).

    With a running phasor w the sum is the real part of a polynomial in w, and Horner's rule needs one complex
    multiplication a harmonic instead of a cosine. Its coefficients change from one 5 ms frame to the next: it is
    evaluated with those before and those after, and the two are crossfaded.
    """
    turns = np.cumsum(on_samples(pitch, count)) / SAMPLE_RATE
    running = 2 * np.pi * (turns - np.floor(turns))
    half = FRAME // 2
    blocks = -(-(count + half) // FRAME)
    phasor = np.ones((blocks, FRAME), np.complex128)
    phasor.reshape(-1)[half : half + count] = with_phase(np.ones(count), running)
    # Block b lies between the middles of frames b - 1 and b.
    index = np.arange(blocks)
    coefficients = with_phase(amplitudes, np.broadcast_to(phases, amplitudes.shape))
    before = coefficients[np.clip(index - 1, 0, len(amplitudes) - 1)]
    step = (coefficients[np.clip(index, 0, len(amplitudes) - 1)] - before) / FRAME
    share = np.arange(FRAME, dtype=np.float64)
    total = np.zeros_like(phasor)
    for k in range(amplitudes.shape[1] - 1, -1, -1):
        total += before[:, k, None] + step[:, k, None] * share
        total *= phasor
    return total.real.reshape(-1)[half : half + count].copy()
