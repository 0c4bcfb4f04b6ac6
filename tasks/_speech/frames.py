"""Cutting a waveform into overlapping frames, adding frames up again, and filters that change from frame to frame."""

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tasks._speech import FRAME, Floats, Signal

SPAN = 960  # samples of a filtered frame: 12 control frames, and a size that FFTs like


def cut(x: Floats, size: int, hop: int) -> Signal:
    """Frames of ``size`` samples, one every ``hop``, as a read-only view: (1 + (len(x) - size) // hop, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, size)[::hop]


def add_up(frames: Floats, hop: int) -> Signal:
    """Overlap-add of (count, size) frames, ``size`` a multiple of ``hop``: (count * hop + size - hop,)."""
    count, size = frames.shape
    overlap = size // hop
    total = np.zeros((count + overlap - 1, hop))
    for j in range(overlap):
        total[j : j + count] += frames[:, j * hop : (j + 1) * hop]
    return total.reshape(-1)


@lru_cache(maxsize=16)
def hann(size: int) -> Signal:
    """Periodic Hann window: copies of it shifted by a divisor of ``size`` add up to a constant."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def spectrum(frames: Floats, size: int) -> NDArray[np.complex128]:
    """One-sided FFT of every row, zero-padded to ``size``: (count, size // 2 + 1)."""
    return cast(NDArray[np.complex128], fft.rfft(frames, size, axis=1))


def real(spectra: NDArray[np.complexfloating], size: int) -> Signal:
    """The inverse of :func:`spectrum`: (count, size)."""
    return cast(Signal, fft.irfft(spectra, size, axis=1))


def product(left: Floats, right: Floats) -> Signal:
    """The matrix product, (m, n) times (n, k): (m, k), every sum taken from its first term to its last.

    BLAS, behind ``@``, sums in an order that depends on the processor and on how many threads it has.
    """
    return np.asarray(np.einsum("mn,nk->mk", left, right, optimize=False))


def on_samples(track: Floats, count: int) -> NDArray[np.float64]:
    """A 5 ms track on ``count`` samples, linear between the middles of its frames."""
    return np.interp(np.arange(count) / FRAME, np.arange(len(track)) + 0.5, track)
