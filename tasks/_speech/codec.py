"""Two speech codecs, reduced to what they do to a waveform: companded samples, and quantised bands."""

from functools import lru_cache
from typing import cast

import numpy as np
from scipy import fft

from tasks._speech import Signal
from tasks._speech.frames import add_up, cut

COMPANDING = 255.0  # the mu of ITU-T G.711
FINEST_STEP = 3e-5  # about half of one 16-bit level: nothing quieter survives either way


def companded(x: Signal, bits: int) -> Signal:
    """Every sample rounded to ``bits`` bits on a logarithmic scale, as telephone exchanges do (mu-law)."""
    peak = np.abs(x).max() + 1e-9
    scale = np.log1p(COMPANDING)
    compressed = np.log1p(np.abs(x) * (COMPANDING / peak)) / scale
    levels = 2 ** (bits - 1)
    compressed = np.round(compressed * levels) / levels
    return np.asarray(np.copysign(np.expm1(compressed * scale) * (peak / COMPANDING), x))


def band_quantised(x: Signal, step_db: float, size: int = 320) -> Signal:
    """``x`` through a modified discrete cosine transform with a step per frame and band.

    Args:
        x: waveform.
        step_db: quantisation step relative to the root mean square of its band; above 0 most lines become zero.
        size: hop and number of lines; a frame is twice as long.
    """
    padded = np.zeros((-(-len(x) // size) + 2) * size)
    padded[size : size + len(x)] = x
    lines = _forward(cut(padded, 2 * size, size) * _sine_window(size))
    edges = _band_edges(size)
    widths = np.diff(edges)
    energy = np.add.reduceat(lines * lines, edges[:-1], axis=1) / widths
    band_steps = np.maximum((np.sqrt(energy) + 1e-7) * 10 ** (step_db / 20), FINEST_STEP)
    steps = np.repeat(band_steps, widths, axis=1)
    quantised: Signal = np.round(lines / steps) * steps
    return add_up(_backward(quantised) * _sine_window(size), size)[size : size + len(x)]


@lru_cache(maxsize=4)
def _sine_window(size: int) -> Signal:
    """Squares of it, one hop apart, add up to 1: aliasing in time cancels between neighbours."""
    return np.sin(np.pi * (np.arange(2 * size) + 0.5) / (2 * size))


@lru_cache(maxsize=4)
def _band_edges(size: int) -> np.ndarray:
    """Bands of four lines at the bottom, then ever wider ones."""
    edges = np.concatenate([np.arange(0, 40, 4), np.geomspace(40, size, 14)])
    return np.unique(np.round(edges).astype(int))


def _forward(frames: Signal) -> Signal:
    """The transform as a type-IV cosine transform of folded frames: (count, 2 * size) to (count, size)."""
    a, b, c, d = np.split(frames, 4, axis=1)
    folded = np.concatenate([-c[:, ::-1] - d, a - b[:, ::-1]], axis=1)
    return cast(Signal, fft.dct(folded, type=4, axis=1, norm="ortho"))


def _backward(lines: Signal) -> Signal:
    """Its transpose, aliasing included: (count, size) to (count, 2 * size)."""
    folded = fft.dct(lines, type=4, axis=1, norm="ortho")
    first, second = np.split(folded, 2, axis=1)
    return np.concatenate([second, -second[:, ::-1], -first[:, ::-1], -first], axis=1)
