"""Residual networks over time-frequency maps, from a tenth of the usual width up to ResNet34."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from tasks.antispoof.pooling import StatisticsPooling

#: blocks in each of the four stages; every stage has twice the channels of the one before
LAYOUTS = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network whose last features are pooled to their mean and standard deviation over time.

    Args:
        layout: blocks per stage.
        width: channels of the first stage; the last one has eight times as many.
        stem_stride: stride of the first convolution over frequency; over time it is 2 at most.
    """

    def __init__(self, layout: Sequence[int], width: int, stem_stride: int = 2) -> None:
        super().__init__()
        strides = (stem_stride, min(stem_stride, 2))
        self.stem = nn.Sequential(nn.Conv2d(1, width, 5, strides, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages, inputs = [], width
        for stage, count in enumerate(layout):
            outputs = width * 2**stage
            first = Block(inputs, outputs, stride=2 if stage > 0 else 1)
            stages.append(nn.Sequential(first, *(Block(outputs, outputs, stride=1) for _ in range(count - 1))))
            inputs = outputs
        self.stages = nn.Sequential(*stages)  # named by stage, so that methods can be held to some of them
        self.pooling = StatisticsPooling()
        self.head = nn.Linear(2 * inputs, 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, bands, T) -> (B, 2)."""
        return self.head(self.pooling(self.stages(self.stem(features.unsqueeze(1))).mean(2)))  # type: ignore[no-any-return]
