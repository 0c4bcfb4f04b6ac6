"""The filterbank in operators that an ONNX file may hold, for models that are shipped."""

import math

import torch
from torch import Tensor, nn


class LogEnergies(nn.Module):
    """What :func:`tasks._speech.filterbank.log_energies` computes: (samples,), float64 -> (frames, bands), float32.

    The transform is a matrix product in double precision, so that rounding to half precision, as features are stored,
    gives the same numbers. ``frames`` is samples // hop, at least 1.

    Args:
        bank: weights of the power spectrum, (fft_size // 2 + 1, bands).
        window: samples under the Hann window.
        hop: samples from one frame to the next.
        floor: added to the power before the logarithm.
    """

    bank: Tensor
    circle: Tensor

    def __init__(self, bank: Tensor, window: int, hop: int, floor: float) -> None:
        super().__init__()
        self.window, self.hop, self.floor = window, hop, floor
        self.register_buffer("bank", bank)
        angles = torch.arange(2 * len(bank) - 2, dtype=torch.float64) * (math.pi / (len(bank) - 1))
        self.register_buffer("circle", torch.stack([angles.cos(), angles.sin()], dim=1))

    def forward(self, samples: Tensor) -> Tensor:
        """Frame t is centred on sample t * hop, with zeros beyond both ends."""
        half = self.window // 2
        frames = (torch._shape_as_tensor(samples)[0] // self.hop).clamp(min=1)
        starts = torch.arange(frames) * self.hop  # type: ignore[call-overload]  # a tensor, which is traced
        padded = nn.functional.pad(samples, (half, half + self.hop))
        # The waves of the transform, a megabyte, are read off a circle when they are needed: nothing in a traced graph
        # that depends on the input, as the first start does (it is 0), becomes a constant of the file.
        inside = torch.arange(self.window) + starts[0]
        turns = inside[:, None] * torch.arange(len(self.bank)) % len(self.circle)
        hann = torch.hann_window(self.window, dtype=torch.float64)
        cut = padded[starts[:, None] + inside] * hann
        real, imaginary = (cut @ wave[turns] for wave in self.circle.unbind(1))
        power = real.square() + imaginary.square()
        return torch.log(power @ self.bank.double() + self.floor).half().float()


class SecondLessFirst(nn.Module):
    """Log odds of the second of two classes: (..., 2) -> (...,)."""

    def forward(self, outputs: Tensor) -> Tensor:
        """The difference of the two logits."""
        return outputs[..., 1] - outputs[..., 0]
