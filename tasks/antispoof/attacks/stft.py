"""The short-time Fourier transform that the attacks work on, its inverse, and magnitudes through mel bands."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import add_up, cut, hann, product, real, spectrum

SIZE = 512  # samples of a frame
HOP = 128
BINS = SIZE // 2 + 1

Spectra = NDArray[np.complex128]  # (frames, BINS)


def stft(x: Floats, hop: int = HOP) -> Spectra:
    """Frames of 512 samples under a Hann window, centred on multiples of ``hop``: (1 + len(x) // hop, 257) or more."""
    padded = np.pad(x, (SIZE // 2, SIZE // 2 + hop))
    return spectrum(cut(padded, SIZE, hop) * hann(SIZE), SIZE)


def istft(spectra: Spectra, count: int) -> Signal:
    """The waveform of ``count`` samples whose spectra, ``HOP`` apart, come closest to ``spectra``."""
    frames = real(spectra, SIZE) * hann(SIZE)
    # Squared Hann windows a quarter of their length apart add up to 3/2.
    x = add_up(frames, HOP)[SIZE // 2 :] * (2 / 3)
    return fitted(x, count)


def fitted(x: Signal, count: int) -> Signal:
    """``x`` cut, or filled up with zeros, to ``count`` samples."""
    return x[:count] if len(x) >= count else np.pad(x, (0, count - len(x)))


def with_phase(magnitude: Floats, phase: Floats) -> Spectra:
    """Complex spectra of the given magnitude and phase in radians."""
    spectra = np.empty(magnitude.shape, np.complex128)
    np.multiply(magnitude, np.cos(phase), out=spectra.real)
    np.multiply(magnitude, np.sin(phase), out=spectra.imag)
    return spectra


@lru_cache(maxsize=8)
def mel_bands(bands: int) -> tuple[Signal, Signal]:
    """Triangles of unit sum from 20 Hz to 8 kHz, (257, bands), and their pseudo-inverse, (bands, 257)."""
    top, bottom = (2595 * np.log10(1 + hertz / 700) for hertz in (SAMPLE_RATE / 2, 20))
    edges = 700 * (10 ** (np.linspace(bottom, top, bands + 2) / 2595) - 1)
    bins = np.arange(BINS) * SAMPLE_RATE / SIZE
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    # The lowest bands may lie between two bins: each takes at least the nearest one.
    weights[np.arange(bands), np.abs(bins - edges[1:-1, None]).argmin(1)] += 1e-3
    weights /= weights.sum(axis=1, keepdims=True)
    # Of 80 bands the lowest two are the same: a singular value that is 0 but for rounding must count as 0.
    return weights.T, np.linalg.pinv(weights.T, rcond=1e-6)


def log_mel(x: Floats, bands: int, hop: int = HOP, floor: float = 1e-5) -> Signal:
    """Natural logarithm of the mean magnitude in each mel band: (frames, bands)."""
    return np.log(np.maximum(product(np.abs(stft(x, hop)), mel_bands(bands)[0]), floor))


def magnitude_through_mel(x: Floats, bands: int, step: float = 0.0) -> Signal:
    """Magnitudes as they come back from mel bands, which know nothing of harmonics: (frames, 257).

    Args:
        x: waveform.
        bands: how many mel bands.
        step: quantisation of their logarithms; 0 for none.
    """
    energies = log_mel(x, bands)
    if step:
        energies = np.round(energies / step) * step
    return np.maximum(product(np.exp(energies), mel_bands(bands)[1]), 1e-6)
