"""A small transformer over frames, plainly composed of layers that a width graph knows."""

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each normalised first and added to what came in (Vaswani et al. 2017).

    Args:
        width: features of a frame.
        heads: of the attention.
        feedforward: hidden width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feedforward)
        self.contract = nn.Linear(feedforward, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, width)."""
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.contract(functional.relu(self.expand(self.norm2(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Two blocks over all frames of the input; position enters through a depthwise convolution over 150 ms.

    The parameter counts published for the transformer of Gómez and Bäckström (arXiv 2601.13704), with as many mel
    bands as features, are 21 d^2 + 46 d + 2 from d = 8 to d = 80; 138,082 at 80. This layout has exactly these: the
    embedding (d^2), attention (4 d^2) and a feed-forward layer of three times the width (6 d^2) in two blocks, and
    two outputs a frame. It is not the only one that has: their paper does not print it.

    Args:
        bands: mel bands.
        width: features of a frame.
        heads: of each attention; they divide the width.
    """

    def __init__(self, bands: int, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(bands, width)
        self.norm1 = nn.LayerNorm(width)
        self.position = nn.Conv1d(width, width, 15, padding=7, groups=width, bias=False)
        self.blocks = nn.Sequential(*(Block(width, heads, 3 * width) for _ in range(2)))
        self.norm2 = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> logits of no speech and speech, (B, T, 2)."""
        y = self.norm1(self.embed(features.transpose(1, 2)))
        y = y + self.position(y.transpose(1, 2)).transpose(1, 2)
        return self.head(self.norm2(self.blocks(y)))  # type: ignore[no-any-return]
