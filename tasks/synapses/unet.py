"""3-D U-Nets for sections that are thicker than their pixels: pooled within sections only.

After Çiçek et al. (arXiv 1606.06650), with anisotropic kernels, and residual blocks in one of them, as Lee et al. have
(arXiv 1706.00120). Budgeted Broadcast (arXiv 2510.01263) prunes 3-D U-Nets for synapses, of which these are no copies.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bench import BenchError

FLAT, FULL = (1, 3, 3), (3, 3, 3)
POOLED = (1, 2, 2)  # sections, rows, columns
GROUP = 4  # channels of a group norm


def _convolution(inputs: int, outputs: int, kernel: tuple[int, int, int]) -> nn.Conv3d:
    depth, rows, columns = kernel
    return nn.Conv3d(inputs, outputs, kernel, padding=(depth // 2, rows // 2, columns // 2), bias=False)


class Block(nn.Sequential):
    """Two convolutions, the first within sections, each behind it normalised over its example: (B, C, D, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(
            *(_convolution(inputs, outputs, FLAT), nn.InstanceNorm3d(outputs, affine=True), nn.ReLU()),
            *(_convolution(outputs, outputs, kernel), nn.InstanceNorm3d(outputs, affine=True), nn.ReLU()),
        )


class ResidualBlock(nn.Module):
    """A convolution within sections, and two more around which its result is added: (B, C, D, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.enter = nn.Sequential(_convolution(inputs, outputs, FLAT), _group_norm(outputs), nn.ReLU())
        self.inner = nn.Sequential(_convolution(outputs, outputs, kernel), _group_norm(outputs), nn.ReLU())
        self.outer = nn.Sequential(_convolution(outputs, outputs, kernel), _group_norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """As many channels as ``outputs``."""
        y = self.enter(x)
        return (y + self.outer(self.inner(y))).relu()  # type: ignore[no-any-return]


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels)


def _transposed(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose3d(inputs, outputs, POOLED, POOLED)


def _resized(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=POOLED, mode="trilinear"), nn.Conv3d(inputs, outputs, 1))


class UNet(nn.Module):
    """Blocks down and up again, at half the resolution of the pixels; what was seen stands beside what comes back up.

    Args:
        widths: channels at each level, the finest first; its kernels lie within sections.
        block: of inputs, outputs and the kernel of the later convolutions.
        up: from the channels of one level to those of the next finer one, at its size.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        block: Callable[[int, int, tuple[int, int, int]], nn.Module] = Block,
        up: Callable[[int, int], nn.Module] = _transposed,
    ) -> None:
        super().__init__()
        kernels, steps = [FLAT, *[FULL] * (len(widths) - 1)], range(len(widths) - 1)
        self.stem = nn.Conv3d(1, widths[0], (1, 4, 4), POOLED, (0, 1, 1))
        self.down = nn.ModuleList(map(block, (widths[0], *widths), widths, kernels))
        self.pool = nn.MaxPool3d(POOLED)
        self.grow = nn.ModuleList(up(widths[i + 1], widths[i]) for i in steps)
        self.back = nn.ModuleList(block(2 * widths[i], widths[i], kernels[i]) for i in steps)
        self.head = up(widths[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Grey values to the log odds of a cleft, both (B, 1, D, H, W); H and W divide by ``2 ** levels``."""
        x, seen = self.stem(x), []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            seen.append(x)
        for finer, grow, back in reversed(list(zip(seen, self.grow, self.back, strict=False))):
            x = back(torch.cat([finer, grow(x)], 1))
        return self.head(x)  # type: ignore[no-any-return]


WIDTHS: dict[str, tuple[int, ...]] = {
    "tiny": (4, 8),
    "small": (8, 16, 24),
    "medium": (12, 24, 48),
    "paper": (28, 36, 48, 64, 80),
}
MODELS: dict[str, Callable[[tuple[int, ...]], nn.Module]] = {
    "unet": UNet,
    "residual": partial(UNet, block=ResidualBlock, up=_resized),
}


def check_model(model: str, size: str, crop: tuple[int, int, int]) -> None:
    """There is such a model, it comes in this size, and tiles can be pooled as often as it does."""
    if model not in MODELS:
        raise BenchError(f"synapses has no model {model!r}; there are: {', '.join(MODELS)}")
    if size not in WIDTHS:
        raise BenchError(f"synapses has no size {size!r} of its models; there are: {', '.join(WIDTHS)}")
    divisor = 2 ** len(WIDTHS[size])
    if any(length % divisor for length in crop[1:]):
        raise BenchError(
            f"synapses: {' x '.join(map(str, crop))} voxels cannot be halved {len(WIDTHS[size])} times: rows and "
            f"columns must be multiples of {divisor}"
        )
