"""Networks as others write them: cut rightly, or told what stays and why."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import BenchError, Widths
from bench.errors import BudgetError
from bench.widths.cost import count_macs
from tests.architectures import Recurrent
from tests.widths.test_operators import Net, conv
from tests.widths.test_widths import close, inputs, random_choice


def attention(net: nn.Module, x: Tensor, *, width: int) -> Tensor:
    """Attention as it is mostly written by hand, of three heads: (B, T, C) -> (B, T, C)."""
    batch, time, _ = x.shape
    qkv = net.qkv(x).reshape(batch, time, 3, net.heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    mixed = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
    return net.proj(mixed.transpose(1, 2).reshape(batch, time, width))


class Attentive(nn.Module):
    """A residual stream around attention: (B, T, 5) -> (B, T, 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.front, self.head, self.heads, self.width = nn.Linear(5, 12), nn.Linear(12, 2), 3, width
        self.norm, self.qkv, self.proj = nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        y = self.norm(x)
        return self.head(x + attention(self, y, width=self.width or y.shape[-1]))


class Positions(nn.Module):
    """A class token, and a table of as many positions as channels: (B, 6, 5) -> (B, 7, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Linear(5, 7), nn.Linear(7, 2)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 7)), nn.Parameter(torch.randn(1, 7, 7))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.token.expand(len(x), -1, -1), self.front(x)], 1) + self.positions)


class Rotated(nn.Module):
    """Heads that are all scaled by one table, made from a buffer: (B, 6, 5) -> (B, 6, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.head, self.heads = nn.Linear(5, 12), nn.Linear(5, 12), nn.Linear(12, 2), 3
        self.register_buffer("rates", torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k = (layer(x).unflatten(2, (-1, 4)).transpose(1, 2) * self.rates.cos() for layer in (self.q, self.k))
        return self.head((q @ k.transpose(2, 3) @ k).transpose(1, 2).flatten(2))


class Turned(nn.LayerNorm):
    """A LayerNorm over the second axis, as ConvNeXt has it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Transposed(nn.Module):
    """A linear layer of somebody's own, its weight (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.outputs = nn.Parameter(torch.randn(inputs, outputs)), outputs

    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(x.flatten(0, -2), self.weight).view(*x.shape[:-1], self.outputs)


def weight_normed(layer: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(layer)


def old_weight_normed(layer: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer)


def split_and_chained(net: nn.Module, x: Tensor) -> Tensor:
    """Res2Net's wiring: equal parts, each convolved after the one before was added."""
    parts, done = torch.split(net.a(x).relu(), net.width, 1), []
    for part in parts:
        done.append(net.b(part + done[-1] if done else part).relu())
    return net.c(torch.cat(done, 1))


def with_width(net: nn.Module, width: int) -> nn.Module:
    net.width = width
    return net


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


#: networks as others write them: the model, the shape of its input, the groups that are found
OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, int]]] = {
    "heads, and a width kept as a number": (lambda: Attentive(12), (1, 6, 5), {"front": 12, "qkv": 3}),
    "heads, and the width of the input": (lambda: Attentive(0), (1, 6, 5), {"front": 3}),
    "a table of positions": (Positions, (1, 6, 5), {"front": 7}),
    "a table that heads share": (Rotated, (1, 6, 5), {"q": 3}),
    "a LayerNorm over the second axis": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3), Turned(6), nn.Conv1d(6, 2, 1)), (1, 2, 8), {"0": 6},
    ),
    "a GroupNorm": (
        lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.GroupNorm(3, 6), nn.Conv1d(6, 2, 1)), (1, 4, 9), {"0": 3},
    ),
    "a linear layer of one's own": (
        lambda: nn.Sequential(Transposed(5, 6), nn.ReLU(), Transposed(6, 2)), (1, 5), {"0": 6},
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.Conv1d(2, 5, 3), weight_normed(nn.Conv1d(5, 6, 3)), nn.Conv1d(6, 2, 1)),
        (1, 2, 9), {"0": 5, "1": 6},
    ),
    "weight norm by a hook": (
        lambda: nn.Sequential(nn.Conv1d(2, 5, 3), old_weight_normed(nn.Conv1d(5, 6, 3)), nn.Conv1d(6, 2, 1)),
        (1, 2, 9), {"0": 5, "1": 6},
    ),
    "equal parts, chained": (
        lambda: with_width(Net(split_and_chained, a=conv(2, 8), b=conv(4, 4), c=conv(8, 2)), 4), (1, 2, 8, 7), {"a": 4},
    ),
    "frozen recurrent layers": (
        lambda: frozen(Recurrent(nn.GRU)), (1, 10, 20), {"front": 8, "memory.l0": 6, "memory.l1": 6},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_networks_as_others_write_them(name: str) -> None:
    torch.manual_seed(0)
    build, shape, sizes = OTHERS[name]
    model = build()
    widths = Widths(model, torch.randn(shape))
    assert widths.sizes == sizes
    x = inputs(widths)
    for seed in range(4):
        kept = random_choice(widths, seed)
        small = widths.keep(kept)
        with torch.no_grad(), widths.mask(kept):
            masked = model(x)
        with torch.no_grad():
            assert close(small(x), masked)
        assert widths.macs({n: len(k) for n, k in kept.items()}) == count_macs(small, widths.example_input)


class Fixed(nn.Module):
    """A model for a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.front(x).view(1, 5))


def test_a_model_that_fixes_its_batch_size_is_told() -> None:
    with pytest.raises(BenchError, match="Fixed computes with a batch of one, but not of two or three"):
        Widths(Fixed(), torch.zeros(1, 3))


class Uncalled(nn.Module):
    """A layer whose weight is taken without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.inner, self.head = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.linear(self.front(x).relu(), self.inner.weight).relu())


def test_what_stays_is_told_with_its_reason() -> None:
    widths = Widths(Uncalled(), torch.zeros(1, 3))
    assert widths.sizes == {"inner": 6}
    assert "takes the weight of 'inner' without calling it" in widths.unreducible["front.weight"]
    with pytest.raises(
        BudgetError, match=r"costliest weight left is 'front.weight' with 24 MACs: mm in layer Uncalled"
    ):
        widths.largest(widths.norms(), 0.1)


class Wordless(nn.Linear):
    """A layer that refuses fewer features without a word."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 5:
            raise RuntimeError
        return super().forward(x)


def test_an_exception_without_a_text_is_told_by_its_kind() -> None:
    model = nn.Sequential(nn.Linear(3, 5), Wordless(5, 4), nn.ReLU(), nn.Linear(4, 2))
    assert "Wordless '1' (RuntimeError)" in Widths(model, torch.zeros(1, 3)).fixed["0"]
