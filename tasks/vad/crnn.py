"""A convolution over three frames, then a causal recurrent network."""

from torch import Tensor, nn
from torch.nn import functional


class Crnn(nn.Module):
    """One convolution and two GRU layers; it looks one frame (10 ms) ahead and no further.

    At 80 bands, 80 channels and 256 hidden units it has 673,873 parameters, as published for the CRNN of Gómez and
    Bäckström (arXiv 2601.13704): the convolution is not padded, so two frames fewer leave it than enter.

    Args:
        bands: mel bands.
        channels: output channels of the convolution.
        hidden: width of both GRU layers.
    """

    def __init__(self, bands: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(bands, channels, 3)
        self.rnn = nn.GRU(channels, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> logits of speech, (B, T - 2, 1)."""
        y, _ = self.rnn(functional.relu(self.conv(features)).transpose(1, 2))
        return self.head(y)  # type: ignore[no-any-return]
