"""What networks do between their layers: followed rightly, or refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import BenchError, Widths
from bench.export.costs import file_costs
from bench.export.model import export_onnx
from bench.widths.cost import count_macs
from tests.widths.test_widths import close, inputs, masks, random_choice


class Net(nn.Module):
    """Layers and what happens between them."""

    def __init__(self, function: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def gated_linear(net: nn.Module, x: Tensor) -> Tensor:
    left, right = net.a(x).chunk(2, 1)
    return net.b(left * right.sigmoid())


def excite(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x).relu()
    return net.b(y * net.d(net.c(y.mean((2, 3))).relu()).sigmoid()[:, :, None, None])


def dense_block(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x).relu()
    z = torch.cat([y, net.b(y)], 1)
    return net.d(torch.cat([y, net.c(z).relu()], 1))


def around_concatenation(net: nn.Module, x: Tensor) -> Tensor:
    y = torch.cat([net.a(x), net.b(x)], 1)
    return net.d(y + net.c(y).relu())


def shown(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return torch.cat([y, net.b(y)], 1)


def doubled(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x).relu()
    return net.b(torch.cat([y, 2 * y], 1))


def halves(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.b(y[:, :3] * y[:, 3:].sigmoid())


def scaled_residual(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.c((y + net.scale * net.b(y.relu())).relu())


def with_scale(net: nn.Module) -> nn.Module:
    net.scale = nn.Parameter(torch.tensor(0.5))
    return net


def normalised_over_space(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.b(y / (1 + y.norm(dim=(2, 3), keepdim=True)))


def normalised_over_channels(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.b(y / (1 + y.norm(dim=1, keepdim=True)))


#: what networks do between layers; some of it the graph cannot follow
WIRINGS: dict[str, Callable[[], nn.Module]] = {
    "the same twice": lambda: Net(doubled, a=conv(2, 5), b=conv(10, 2)),
    "reversed channels": lambda: Net(lambda s, x: s.b(s.a(x).relu().flip(1)), a=conv(2, 5), b=conv(5, 2)),
    "bands into channels": lambda: Net(
        lambda s, x: s.b(s.a(x).relu().flatten(1, 2)), a=conv(2, 5), b=nn.Conv1d(40, 2, 1)
    ),
    "frames with all their bands": lambda: Net(
        lambda s, x: s.b(s.a(x).relu().permute(0, 3, 1, 2).flatten(2)), a=conv(2, 5), b=nn.Linear(40, 2)
    ),
    "halves multiplied": lambda: Net(halves, a=conv(2, 6), b=conv(3, 2)),
    "gated linear unit": lambda: Net(gated_linear, a=conv(2, 6), b=conv(3, 2)),
    "squeeze and excite": lambda: Net(excite, a=conv(2, 6), b=conv(6, 2), c=nn.Linear(6, 3), d=nn.Linear(3, 6)),
    "one layer twice": lambda: Net(
        lambda s, x: s.c(s.b(s.b(s.a(x).relu()).relu())), a=conv(2, 6), b=conv(6, 6), c=conv(6, 2)
    ),
    "dense block": lambda: Net(dense_block, a=conv(2, 6), b=conv(6, 4), c=conv(10, 3), d=conv(9, 2)),
    "residual around a concatenation": lambda: Net(
        around_concatenation, a=conv(2, 6), b=conv(2, 4), c=conv(10, 10), d=conv(10, 2)
    ),
    "residual with a learned scale": lambda: with_scale(Net(scaled_residual, a=conv(2, 6), b=conv(6, 6), c=conv(6, 2))),
    "divided by the norm over space": lambda: Net(normalised_over_space, a=conv(2, 5), b=conv(5, 2)),
    "divided by the norm over channels": lambda: Net(normalised_over_channels, a=conv(2, 5), b=conv(5, 2)),
    "residual around the input": lambda: Net(lambda s, x: s.b(x + s.a(x)), a=conv(2, 2), b=conv(2, 3)),
    "features that are outputs too": lambda: Net(shown, a=conv(2, 5), b=conv(5, 2)),
    "a layer that is not used": lambda: Net(lambda s, x: s.b(s.a(x)), a=conv(2, 5), b=conv(5, 2), c=nn.Linear(7, 7)),
}

#: the groups that the graph must find, with their sizes; it refuses the other wirings
FOLLOWED: dict[str, dict[str, int]] = {
    "the same twice": {"a": 5},
    "reversed channels": {"a": 5},
    "bands into channels": {"a": 5},
    "frames with all their bands": {"a": 5},
    "gated linear unit": {"a": 3},
    "squeeze and excite": {"a": 6, "c": 3},
    "one layer twice": {"a": 6},
    "dense block": {"a": 6, "b": 4, "c": 3},
    "residual around a concatenation": {"a": 6, "b": 4},
    "residual with a learned scale": {"a": 6},
    "divided by the norm over space": {"a": 5},
    "divided by the norm over channels": {},
    "residual around the input": {},
    "features that are outputs too": {},
    "a layer that is not used": {"a": 5},
}


@pytest.mark.parametrize("wiring", sorted(WIRINGS.keys() - FOLLOWED.keys()))
def test_what_the_graph_cannot_follow_is_refused(wiring: str) -> None:
    with pytest.raises(BenchError, match="cannot reduce Net: of 'a', fewer channels do not pass through Conv2d 'b'"):
        Widths(WIRINGS[wiring](), torch.randn(1, 2, 8, 7))


@pytest.mark.parametrize("wiring", FOLLOWED)
def test_what_the_graph_follows_is_cut_rightly(wiring: str) -> None:
    torch.manual_seed(0)
    model = WIRINGS[wiring]()
    widths = Widths(model, torch.randn(1, 2, 8, 7))
    assert widths.sizes == FOLLOWED[wiring]
    x = inputs(widths)
    for seed in range(6):
        indices = random_choice(widths, seed)
        with torch.no_grad(), widths.gate(masks(widths, indices)):
            gated = model(x)
        small = widths.keep(indices)
        with torch.no_grad():
            assert close(small(x), gated)
        assert widths.macs({n: len(kept) for n, kept in indices.items()}) == count_macs(small, widths.example_input)


#: between a layer with five outputs and one that reads them, and the axes in space
BETWEEN: dict[str, tuple[nn.Module, int]] = {
    "one slope": (nn.PReLU(), 2),
    "slopes": (nn.PReLU(5), 2),
    "reflected": (nn.ReflectionPad2d(1), 2),
    "replicated in time": (nn.ReplicationPad1d(1), 1),
    "replicated": (nn.ReplicationPad2d(1), 2),
    "nearest in time": (nn.Upsample(scale_factor=2), 1),
    "nearest": (nn.Upsample(scale_factor=2), 2),
    "linear": (nn.Upsample(scale_factor=2, mode="linear"), 1),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), 2),
    "nearest in volumes": (nn.Upsample(scale_factor=(1, 2, 2)), 3),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), 3),
    "replicated in volumes": (nn.ReplicationPad3d(1), 3),
    "largest in volumes": (nn.MaxPool3d((1, 2, 2)), 3),
    "mean in volumes": (nn.AvgPool3d(2), 3),
    "mean of a volume": (nn.AdaptiveAvgPool3d(1), 3),
    "largest of a volume": (nn.AdaptiveMaxPool3d(1), 3),
    "group norm of volumes": (nn.GroupNorm(5, 5), 3),
    "instance norm": (nn.InstanceNorm2d(5), 2),
    "bilinear to the corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), 2),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_graph_counter_and_file_know_the_same_operators(name: str) -> None:
    between, space = BETWEEN[name]
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[space - 1]
    model, x = nn.Sequential(kind(2, 5, 3), between, kind(5, 3, 1)), torch.randn(1, 2, *[8] * space)
    widths = Widths(model, x)
    assert widths.sizes == {"0": 5}
    assert widths.macs({}) == count_macs(model, x) == file_costs(export_onnx(model, x), tuple(x.shape)).macs
    small = widths.keep({"0": torch.tensor([3, 1])})
    assert widths.macs({"0": 2}) == count_macs(small, x) == file_costs(export_onnx(small, x), tuple(x.shape)).macs
    if isinstance(slopes := small[1], nn.PReLU):  # type: ignore[index]
        assert slopes.num_parameters == len(slopes.weight)


def test_words_may_come_in_instead_of_features() -> None:
    words = torch.tensor([[3, 1, 4, 1, 5, 9]])
    model = nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    widths = Widths(model, words)
    assert widths.sizes == {"1": 5}
    kept = {"1": torch.tensor([1, 4])}
    small = widths.keep(kept)
    with torch.no_grad(), widths.mask(kept):
        assert close(small(words), model(words))


class Scaled(nn.Module):
    """A parameter of its own, which meets the channels element by element."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_parameters_of_somebodys_own_layer_are_cut_too() -> None:
    model = nn.Sequential(nn.Linear(3, 5), Scaled(), nn.Linear(5, 2))
    small = Widths(model, torch.zeros(1, 3)).keep({"0": torch.tensor([4, 1])})
    assert torch.equal(small[1].scale, model[1].scale[[1, 4]])


class Ranked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(1).values


@pytest.mark.parametrize(
    ("model", "shape", "named"),
    [
        (nn.Sequential(nn.Linear(3, 5), Ranked(), nn.Linear(5, 2)), (1, 3), "operator sort.*Ranked '1'"),
        (nn.Sequential(nn.LSTM(4, 6, proj_size=3)), (1, 7, 4), "LSTM with proj_size.*'0'"),
        (nn.Sequential(nn.MultiheadAttention(4, 2, add_bias_kv=True)), (1, 7, 4), "Attention with add_bias_kv.*'0'"),
        (
            nn.Sequential(nn.MultiheadAttention(4, 2, add_zero_attn=True)),
            (1, 7, 4),
            "Attention with add_zero_attn.*'0'",
        ),
    ],
)
def test_an_unknown_operator_is_named(model: nn.Module, shape: tuple[int, ...], named: str) -> None:
    with pytest.raises(BenchError, match=named):
        Widths(model, torch.zeros(shape))


IN_PLACE = [nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LeakyReLU, nn.ELU, nn.SELU, nn.SiLU, nn.Mish]


@pytest.mark.parametrize("kind", IN_PLACE)
def test_whatever_works_element_by_element_is_free(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv1d(2, 5, 3), kind(inplace=True), nn.Conv1d(5, 2, 1))  # type: ignore[call-arg]
    widths = Widths(model, torch.zeros(1, 2, 8))
    assert widths.sizes == {"0": 5}
    assert widths.macs({}) == count_macs(model, torch.zeros(1, 2, 8)) == 6 * (2 * 5 * 3 + 5 * 2)


class Similarity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 6)
        self.head = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(x)
        return self.head((y @ y.transpose(1, 2)).relu())


def test_products_outside_layers_are_counted_and_what_they_mix_stays() -> None:
    model = Similarity()
    widths = Widths(model, torch.zeros(1, 7, 4))
    assert widths.macs({}) == count_macs(model, torch.zeros(1, 7, 4)) == 7 * 4 * 6 + 7 * 7 * 6 + 7 * 7 * 2
    assert widths.sizes == {}  # no gate can be put where the features are summed over
