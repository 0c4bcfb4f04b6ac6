"""Log energies of the bands of a filterbank, every few milliseconds."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks._speech import Signal

if TYPE_CHECKING:
    from torch import Tensor

Half = NDArray[np.float16]


def log_energies(bank: "Tensor", window: int, hop: int, floor: float) -> Callable[[Signal], Half]:
    """A function from samples at 16 kHz, (samples,), to features, (samples // hop, bands), at least one frame.

    Frame t is centred on sample t * hop; beyond both ends of the signal there are zeros.

    Args:
        bank: weights of the power spectrum, (fft_size // 2 + 1, bands).
        window: samples under the Hann window, at most ``fft_size``.
        hop: samples from one frame to the next.
        floor: added to the power before the natural logarithm.
    """
    import torch

    fft_size = 2 * (len(bank) - 1)
    # Libraries and processors differ in the last bits; in double precision that hardly ever shows in half precision.
    hann, bank = torch.hann_window(window, dtype=torch.float64), bank.double()

    def features(samples: Signal) -> Half:
        spectra = torch.stft(
            torch.from_numpy(samples).double(),
            fft_size,
            hop,
            window,
            hann,
            center=True,
            pad_mode="constant",  # reflection would need as many samples as it pads
            return_complex=True,
        )
        power = spectra.real.square() + spectra.imag.square()
        frames = max(1, len(samples) // hop)
        return torch.log(power[:, :frames].T @ bank + floor).half().numpy()

    return features


def widened(features: Half) -> NDArray[np.float32]:
    """The same numbers in single precision; NumPy takes ten times as long for it as PyTorch."""
    import torch

    return torch.from_numpy(np.array(features)).float().numpy()  # a copy, since stored ones are read-only
