"""Two encoders over subsampled frames: a Transformer and a Conformer."""

import math

import torch
from torch import Tensor, nn
from torchaudio.models.conformer import ConformerLayer

KERNEL = 15  # subsampled frames that a Conformer's convolution sees
REDUCTION = 4  # frames in, one out


class Subsampling(nn.Module):
    """Three convolutions over time, two of stride 2: a subsampled frame sees 290 ms.

    Args:
        bands: mel bands.
        width: features of a frame.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        sizes = ((bands, 2), (width, 2), (width, 1))
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(inputs, width, 5, stride, padding=2, bias=False), nn.BatchNorm1d(width), nn.ReLU()
                )
                for inputs, stride in sizes
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> (B, ceil(T / 4), width)."""
        return self.layers(features).transpose(1, 2)  # type: ignore[no-any-return]


class Positions(nn.Module):
    """Adds sines and cosines of position, fixed (Vaswani et al., arXiv 1706.03762, section 3.5).

    Args:
        width: features of a frame, an even number.
        positions: how many there are at most.
    """

    table: Tensor

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        angles = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
        table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, width)."""
        return x + self.table[: x.shape[1]]


class Head(nn.Linear):
    """A linear layer whose first class, the blank, is likely to begin with: nine frames of ten have no unit.

    Otherwise the gradients of the first steps, which do no more than find that out, are so large that Adam's second
    moments keep its steps small for the whole of a short training.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        nn.init.zeros_(self.bias)
        nn.init.constant_(self.bias[:1], math.log(9 * (classes - 1)))


class Transformer(nn.Module):
    """Layers of self-attention, each normalised first; position is added once.

    Args:
        bands: mel bands.
        classes: of the outputs.
        width: features of a frame, a multiple of ``heads``.
        layers: how many.
        heads: of each attention.
        positions: how many subsampled frames there are at most.
    """

    def __init__(self, bands: int, classes: int, *, width: int, layers: int, heads: int, positions: int) -> None:
        super().__init__()
        self.subsampling = Subsampling(bands, width)
        self.positions = Positions(width, positions)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = Head(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> logits (B, classes, ceil(T / 4))."""
        y = self.norm(self.layers(self.positions(self.subsampling(features))))
        return self.head(y).transpose(1, 2)  # type: ignore[no-any-return]


class Conformer(nn.Module):
    """torchaudio's layers of convolution and self-attention (Gulati et al., arXiv 2005.08100).

    The convolutions tell positions apart; the relative encoding of the paper is not in torchaudio's layers.

    Args:
        bands: mel bands.
        classes: of the outputs.
        width: features of a frame, a multiple of ``heads``.
        layers: how many.
        heads: of each attention.
    """

    def __init__(self, bands: int, classes: int, *, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.subsampling = Subsampling(bands, width)
        self.layers = nn.ModuleList(ConformerLayer(width, 4 * width, heads, KERNEL) for _ in range(layers))
        self.head = Head(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> logits (B, classes, ceil(T / 4))."""
        y = self.subsampling(features).transpose(0, 1)
        for layer in self.layers:
            y = layer(y, None)
        return self.head(y).permute(1, 2, 0)  # type: ignore[no-any-return]
