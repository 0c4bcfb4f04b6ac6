"""A small time-delay network behind a convolutional stem, the default model."""

import torch
from torch import Tensor, nn

from tasks.antispoof.pooling import StatisticsPooling


class CnnTdnn(nn.Module):
    """Convolutions over time and frequency, then over time (small kin of Thienpondt et al. 2021, arXiv 2104.02370).

    The stem sees patterns wherever they lie in frequency; from there on each band is a feature of its own, so that a
    step costs little and a model learns what it can within some hundred steps.

    Args:
        bands: of the features.
        width: channels of the first convolution; the second one has twice, those over time six times as many.
        layers: convolutions over time.
    """

    def __init__(self, bands: int, width: int, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, (7, 5), (3, 2), (3, 2), bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, (2, 1), 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        rows, channels = -(-bands // 6), 6 * width  # the strides of the stem over frequency are 3 and 2
        inputs = [2 * width * rows, *[channels] * (layers - 1)]
        self.layers = nn.Sequential(*(_over_time(count, channels) for count in inputs))
        self.pooling = StatisticsPooling()
        self.head = nn.Linear(2 * channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> (B, 2)."""
        y: Tensor = self.stem(features.unsqueeze(1))
        return self.head(self.pooling(self.layers(torch.flatten(y, 1, 2))))  # type: ignore[no-any-return]


def _over_time(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())
