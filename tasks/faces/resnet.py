"""Residual networks from faces to embeddings, from narrow ones up to the published ResNet18 and ResNet50."""

from collections.abc import Sequence

from torch import Tensor, nn

#: blocks in each of the four stages; every stage has twice the channels of the one before
LAYOUTS = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 14, 3)}


class Block(nn.Module):
    """The improved residual unit of ArcFace (arXiv 1801.07698, section 3.1): BN, conv, BN, PReLU, conv, BN."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.slope = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.slope(self.norm2(self.conv1(self.norm1(x))))
        return self.norm3(self.conv2(y)) + self.shortcut(x)  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Embeds faces. The last map is read whole, not averaged: where a feature lies says who it is.

    Args:
        layout: blocks of each stage, whose first one halves the map.
        width: channels of the first stage; the last one has eight times as many.
        pixels: of an edge of the pictures.
        size: of the embedding.
        stem_stride: of the first convolution; the published networks have 1.
    """

    def __init__(self, layout: Sequence[int], width: int, pixels: int, size: int, stem_stride: int = 1) -> None:
        super().__init__()
        stem = nn.Conv2d(3, width, 3, stem_stride, 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(width), nn.PReLU(width))
        stages, inputs, edge = [], width, -(-pixels // stem_stride)
        for stage, count in enumerate(layout):
            outputs, edge = width * 2**stage, -(-edge // 2)
            rest = (Block(outputs, outputs, stride=1) for _ in range(count - 1))
            stages.append(nn.Sequential(Block(inputs, outputs, stride=2), *rest))
            inputs = outputs
        self.stages = nn.Sequential(*stages)  # named by stage, so that methods can be held to some of them
        self.norm = nn.BatchNorm2d(inputs)
        self.embed = nn.Linear(inputs * edge**2, size)
        self.scale = nn.BatchNorm1d(size)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, pixels, pixels) -> (B, size), of any length: angles alone say who it is."""
        return self.scale(self.embed(self.norm(self.stages(self.stem(pictures))).flatten(1)))  # type: ignore[no-any-return]
