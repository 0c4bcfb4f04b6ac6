"""A codec far below the bit rate that it needs, with made-up high frequencies (A12)."""

import numpy as np
from scipy import signal

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks._speech.codec import band_quantised
from tasks.antispoof.attacks.stft import istft, magnitude_through_mel, with_phase


def coarse_codec(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Steps 1 to 4 dB above the level of each band; above 3 to 4.5 kHz only an envelope, filled with noise."""
    coded = band_quantised(x, rng.uniform(1, 4), size=256)
    low_pass = signal.firwin(129, rng.uniform(3000, 4500), fs=SAMPLE_RATE)
    high = x - signal.oaconvolve(x, low_pass, mode="same")
    magnitude = magnitude_through_mel(high, 40)
    random_phase = rng.uniform(-np.pi, np.pi, magnitude.shape)
    filled = istft(with_phase(magnitude, random_phase), len(x))
    return signal.oaconvolve(coded, low_pass, mode="same") + filled
