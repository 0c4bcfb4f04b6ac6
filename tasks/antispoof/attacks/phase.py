"""Phase manipulations: rounded to a few values (A08), or run at another speed to shift the pitch (A09)."""

import numpy as np
from scipy import signal

from tasks._speech import Floats, Signal
from tasks.antispoof.attacks.stft import BINS, HOP, SIZE, istft, stft, with_phase


def phase_quantised(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Only two or three phases are left, dithered."""
    spectra = stft(x)
    step = 2 * np.pi / int(rng.integers(2, 4))
    dither = rng.uniform(-0.2, 0.2, spectra.shape)
    phase = np.round(np.angle(spectra) / step + dither) * step
    return istft(with_phase(np.abs(spectra), phase), len(x))


def pitch_shifted(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Stretched in time by a phase vocoder, then played faster or slower: pitch times .82 to .93 or 1.08 to 1.22."""
    factor = rng.uniform(0.82, 0.93) if rng.random() < 0.5 else rng.uniform(1.08, 1.22)
    stretched = _stretched(x, factor)
    if factor > 1:  # what would fold back when samples are skipped goes first
        stretched = signal.oaconvolve(stretched, signal.firwin(65, 0.98 / factor), mode="same")
    position = np.arange(len(x)) * (len(stretched) / len(x))
    return np.asarray(np.interp(position, np.arange(len(stretched)), stretched))


def _stretched(x: Signal, factor: float) -> Signal:
    """``x`` made ``factor`` times as long at the same pitch: every bin's phase goes on at its own frequency."""
    spectra = stft(x)
    position = np.arange(0, len(spectra) - 1.01, 1 / factor)
    below = position.astype(int)
    share = (position - below)[:, None]
    magnitude, phase = np.abs(spectra), np.angle(spectra)
    magnitude = magnitude[below] * (1 - share) + magnitude[below + 1] * share
    expected = 2 * np.pi * HOP / SIZE * np.arange(BINS)
    advance = (np.diff(phase, axis=0) - expected)[below]
    advance -= 2 * np.pi * np.round(advance / (2 * np.pi))
    running = np.cumsum(advance + expected, axis=0) + phase[0]
    return istft(with_phase(magnitude, np.mod(running, 2 * np.pi)), int(len(x) * factor))
