"""A small transformer over frames, plainly composed of layers that a width graph knows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = 15  # frames that the position of one is read from


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each normalised first and added to what came in (Vaswani et al. 2017).

    Args:
        width: features of a frame.
        heads: of the attention.
        feedforward: hidden width of the feed-forward layer.
        context: frames that a frame attends to, itself and those before it; all frames of the input if None.
    """

    def __init__(self, width: int, heads: int, feedforward: int, context: int | None) -> None:
        super().__init__()
        self.context = context
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feedforward)
        self.contract = nn.Linear(feedforward, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, width)."""
        y = self.norm1(x)
        hidden = None if self.context is None else _hidden(y, self.context)
        x = x + self.attention(y, y, y, need_weights=False, attn_mask=hidden)[0]
        return x + self.contract(functional.relu(self.expand(self.norm2(x))))  # type: ignore[no-any-return]


def _hidden(x: Tensor, context: int) -> Tensor:
    """Which frames (columns) a frame (row) does not attend to, for x (B, T, width): (T, T), bool."""
    frames = torch.arange(x.shape[1], device=x.device)
    age = frames[:, None] - frames
    return (age < 0) | (age >= context)


class Transformer(nn.Module):
    """Two blocks over the frames of the input; position enters through a depthwise convolution over 150 ms.

    The parameter counts published for the transformer of Gómez and Bäckström (arXiv 2601.13704), with as many mel
    bands as features, are 21 d^2 + 46 d + 2 from d = 8 to d = 80; 138,082 at 80. This layout has exactly these: the
    embedding (d^2), attention (4 d^2) and a feed-forward layer of three times the width (6 d^2) in two blocks, and
    two outputs a frame. It is not the only one that has: their paper does not print it.

    Args:
        bands: mel bands.
        width: features of a frame.
        heads: of each attention; they divide the width.
        context: None for a model that sees all frames at once. With a number it is causal: nothing sees frames to come,
            and each attention sees so many, the current one and those before it.
    """

    def __init__(self, bands: int, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.embed = nn.Linear(bands, width)
        self.norm1 = nn.LayerNorm(width)
        self.causal = context is not None
        self.position = nn.Conv1d(width, width, TAPS, padding=0 if self.causal else TAPS // 2, groups=width, bias=False)
        self.blocks = nn.Sequential(*(Block(width, heads, 3 * width, context) for _ in range(2)))
        self.norm2 = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> logits of no speech and speech, (B, T, 2)."""
        y = self.norm1(self.embed(features.transpose(1, 2)))
        frames = y.transpose(1, 2)
        y = y + self.position(functional.pad(frames, (TAPS - 1, 0)) if self.causal else frames).transpose(1, 2)
        return self.head(self.norm2(self.blocks(y)))  # type: ignore[no-any-return]
