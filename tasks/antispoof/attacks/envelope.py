"""Spectral envelopes as cepstra: what is left of a spectrum when the pitch is smoothed away."""

import numpy as np
from scipy import fft

from tasks._speech import FRAME, SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import spectrum
from tasks.antispoof.attacks.stft import BINS, SIZE, Spectra, stft, with_phase


def cepstral_envelope(x: Signal, f0_hz: Floats, order: int | None = None) -> Signal:
    """Smoothed log spectrum of every 5 ms frame as a one-sided real cepstrum: (frames, 257).

    The lifter narrows as the pitch rises, so that harmonics vanish and little else, as in CheapTrick
    (M. Morise, 2015): a sinc removes the ripple at the pitch, a cosine restores some of the contrast it cost.

    Args:
        x: waveform.
        f0_hz: pitch of each frame, without gaps: (frames,).
        order: number of coefficients to keep; all when None.
    """
    spectra = np.abs(stft(x, FRAME))[: len(f0_hz)]
    cepstrum = from_log_spectrum(np.log(spectra + 1e-5))
    # One row of lifter for every two hertz of pitch, rather than one for every frame.
    pitch, index = np.unique(np.round(f0_hz[: len(spectra)] / 2) * 2, return_inverse=True)
    turns = pitch[:, None] * (np.arange(BINS) / SAMPLE_RATE)
    lifter = np.sinc(turns) * (1.18 - 0.18 * np.cos(2 * np.pi * turns))
    if order is not None:
        lifter[:, order:] = 0
    return cepstrum * lifter[index]


def from_log_spectrum(log_magnitude: Floats) -> Signal:
    """One-sided real cepstrum of a one-sided log spectrum, both (frames, 257)."""
    return np.asarray(fft.dct(log_magnitude, type=1, axis=1) / SIZE)


def to_log_spectrum(cepstrum: Floats) -> Signal:
    """The inverse of :func:`from_log_spectrum`."""
    return np.asarray(fft.dct(cepstrum, type=1, axis=1))


def minimum_phase(cepstrum: Floats) -> Spectra:
    """The spectra, (frames, 257), of the causal filter with this log spectrum that responds soonest."""
    folded = np.zeros((len(cepstrum), SIZE))
    folded[:, :BINS] = cepstrum
    folded[:, 1 : SIZE // 2] *= 2
    logarithm = spectrum(folded, SIZE)
    return with_phase(np.exp(logarithm.real), logarithm.imag)


def warped(log_spectrum: Floats, factor: float) -> Signal:
    """``log_spectrum``, (frames, 257), stretched in frequency by ``factor``."""
    position = np.clip(np.arange(BINS) / factor, 0, BINS - 1.01)
    below = position.astype(int)
    share = position - below
    lower, upper = log_spectrum[:, below], log_spectrum[:, below + 1]
    return np.asarray(lower + (upper - lower) * share)
