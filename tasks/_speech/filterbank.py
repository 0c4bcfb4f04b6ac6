"""Log energies of the bands of a filterbank, every few milliseconds, and how they are normalised."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks._speech import SAMPLE_RATE, Signal

if TYPE_CHECKING:
    from torch import Tensor

Half = NDArray[np.float16]

MEL_FFT_SIZE = 512
NORMALISED_BY = 400  # recordings


def mel_weights(bands: int) -> "Tensor":
    """Mel bands as weights of the power spectrum: (257, bands)."""
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(MEL_FFT_SIZE // 2 + 1, 0.0, SAMPLE_RATE / 2, bands, SAMPLE_RATE)  # type: ignore[no-any-return]


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


class Normaliser:
    """Zero mean and unit variance for each band, over (at most 400 recordings of) the train split.

    Args:
        frames: of the train split, (recordings, T, bands).
    """

    def __init__(self, frames: Half) -> None:
        sample = widened(frames[:: -(-len(frames) // NORMALISED_BY)])
        self.mean = sample.mean((0, 1))
        self.scale = 1 / (sample.std((0, 1)) + np.float32(1e-3))

    def __call__(self, frames: Half) -> "Tensor":
        """(B, T, bands) as stored -> (B, bands, T) as models get it."""
        import torch

        normal = (widened(frames) - self.mean) * self.scale
        return torch.from_numpy(np.ascontiguousarray(normal.transpose(0, 2, 1)))
