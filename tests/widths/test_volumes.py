"""Networks of three-dimensional layers: what the graph finds, cuts and counts, against gating, hand and ONNX."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import Widths
from bench.export.costs import file_costs
from bench.export.memory import peak_memory_bytes
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs
from tests.models import randomise_norms
from tests.widths.test_widths import close, inputs, masks, random_choice

SHAPE = (1, 2, 4, 8, 8)


def convolution(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, padding=1)


def resized(inputs: int, outputs: int, mode: str) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=(1, 2, 2), mode=mode), nn.Conv3d(inputs, outputs, 1))


def transposed(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose3d(inputs, outputs, (1, 2, 2), (1, 2, 2))


def shuffled(inputs: int, outputs: int) -> nn.Module:
    """Sections as examples: (1, C, D, H, W) -> (D, C, H, W), twice as large behind."""
    return Sections(nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2)))


class Sections(nn.Module):
    """A layer for images, section by section."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.transpose(1, 2).flatten(0, 1))
        return y.unflatten(0, (-1, x.shape[2])).transpose(1, 2)


class Net(nn.Module):
    """One step down and up again, with what was seen before the step beside what comes back."""

    def __init__(self, norm: Callable[[int], nn.Module], down: nn.Module, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(convolution(2, 6), norm(6), nn.ReLU())
        self.down = down
        self.deep = nn.Sequential(convolution(6, 8), norm(8), nn.ReLU())
        self.up = up(8, 6)
        self.last = nn.Sequential(convolution(12, 6), norm(6), nn.ReLU())
        self.head = nn.Conv3d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.first(x)
        deep = self.deep(self.down(shallow))
        return self.head(self.last(torch.cat([shallow, self.up(deep)], 1)))


def group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // 2, channels)


def instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm3d(channels, affine=True)


POOL = nn.MaxPool3d((1, 2, 2))
NETS: dict[str, Callable[[], nn.Module]] = {
    "transposed": lambda: Net(instance_norm, POOL, transposed),
    "nearest": lambda: Net(group_norm, nn.AvgPool3d((1, 2, 2)), lambda i, o: resized(i, o, "nearest")),
    "trilinear": lambda: Net(nn.BatchNorm3d, POOL, lambda i, o: resized(i, o, "trilinear")),
    "without weights": lambda: Net(nn.InstanceNorm3d, POOL, transposed),
    "shuffled": lambda: Net(instance_norm, POOL, shuffled),
    "groups of convolutions": lambda: Net(instance_norm, nn.Conv3d(6, 6, (1, 2, 2), (1, 2, 2), groups=6), transposed),
}


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_volumes_is_cut_rightly(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_norms(NETS[name]())
    widths = Widths(model, torch.randn(SHAPE))
    assert len(widths.sizes) == 4, widths.sizes
    x = inputs(widths)
    for seed in range(4):
        kept = random_choice(widths, seed)
        with torch.no_grad(), widths.gate(masks(widths, kept)):
            gated = model(x)
        small = widths.keep(kept)
        file = export_onnx(small, widths.example_input)
        with torch.no_grad():
            assert close(small(x), gated)
            assert float((Predictor(file)(x) - small(x)).abs().max()) < 1e-4
        macs = count_macs(small, widths.example_input)
        assert macs == widths.macs({n: len(own) for n, own in kept.items()}) == file_costs(file, SHAPE).macs


def test_macs_are_those_counted_by_hand() -> None:
    down, up = nn.Conv3d(2, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ConvTranspose3d(6, 4, (1, 2, 2), (1, 2, 2))
    positions = 4 * 4 * 4
    expected = positions * (2 * 6 * 9 + 6 * 4 * 4)
    model = nn.Sequential(down, up)
    assert count_macs(model, torch.zeros(SHAPE)) == expected == Widths(model, torch.zeros(SHAPE)).macs({})


def test_peak_memory_is_that_of_both_ends_of_the_skip() -> None:
    """While the two are concatenated: six shallow channels, six from below, and the twelve that they become."""
    file = export_onnx(NETS["transposed"](), torch.zeros(SHAPE))
    assert peak_memory_bytes(file, SHAPE) == 4 * 256 * (6 + 6 + 12)
