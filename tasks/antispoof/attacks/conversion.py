"""Voice conversion by filtering: another vocal tract on the source that was there (A05, A19)."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tasks._speech import Floats, Signal
from tasks.antispoof.attacks.envelope import from_log_spectrum, to_log_spectrum, warped
from tasks.antispoof.attacks.stft import istft, stft


def sharp_conversion(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Whitened with 24 to 39 cepstral coefficients, shaped again with 12 to 21."""
    return _converted(x, rng, whitening=(24, 40), shaping=(12, 22), smoothing=(1.0, 3.5))


def smooth_conversion(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Whitened with 20 to 29 cepstral coefficients, shaped again with 10 to 17 that move more slowly."""
    return _converted(x, rng, whitening=(20, 30), shaping=(10, 18), smoothing=(2.0, 4.5))


def _converted(
    x: Signal,
    rng: np.random.Generator,
    whitening: tuple[int, int],
    shaping: tuple[int, int],
    smoothing: tuple[float, float],
) -> Signal:
    """``x`` with its envelope replaced by one that is warped .74 to 1.35 times, smoother and slower.

    Pitch, harmonics and phase stay as they were. The filter changes no frequency by more than 30 dB.
    """
    warp = rng.uniform(0.74, 0.9) if rng.random() < 0.5 else rng.uniform(1.12, 1.35)
    spectra = stft(x)
    cepstrum = from_log_spectrum(np.log(np.abs(spectra) + 1e-5))
    cepstrum[:, int(rng.integers(*whitening)) :] = 0
    present = to_log_spectrum(cepstrum)
    cepstrum[:, int(rng.integers(*shaping)) :] = 0
    wanted = warped(to_log_spectrum(gaussian_filter1d(cepstrum, rng.uniform(*smoothing), axis=0)), warp)
    return istft(spectra * np.exp(np.clip(wanted - present, -3.5, 3.5)), len(x))
