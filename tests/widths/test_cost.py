"""MACs counted, and the largest model within a budget for those who can rank channels."""

from collections.abc import Callable
from math import ceil

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import BenchError, BudgetError, Widths, largest_model
from bench.widths import cost
from bench.widths.cost import count_macs, largest_within, smallest_sizes
from tasks.antispoof.resnet import LAYOUTS, Block, ResNet
from tests.models import Temporal, mlp


def out_length(length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def resnet_macs(blocks: tuple[int, ...], width: int, bands: int, frames: int, classes: int = 2) -> int:
    """By hand: every stride of two halves both axes, rounding up."""
    bands, frames = ceil(bands / 2), ceil(frames / 2)
    total = 25 * width * bands * frames
    channels = width
    for stage, count in enumerate(blocks):
        wide = width * 2**stage
        if stage:
            bands, frames = ceil(bands / 2), ceil(frames / 2)
            total += channels * wide * bands * frames  # 1x1 convolution on the shortcut
        total += (9 * channels * wide + 9 * wide * wide) * bands * frames
        total += (count - 1) * 2 * 9 * wide * wide * bands * frames
        channels = wide
    return total + 2 * channels * classes


class Op(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "bias"),
    [(1, 0, 1, 1, True), (2, 1, 1, 1, False), (3, 4, 2, 1, True), (1, 1, 1, 6, True), (2, 2, 1, 3, False)],
)
def test_conv1d(stride: int, padding: int, dilation: int, groups: int, bias: bool) -> None:
    layer = nn.Conv1d(6, 12, 5, stride, padding, dilation, groups, bias)
    expected = out_length(50, 5, stride, padding, dilation) * 12 * (6 // groups) * 5
    assert count_macs(layer, torch.zeros(1, 6, 50)) == expected


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        ((3, 3), (1, 1), (1, 1), (1, 1), 1),
        ((3, 5), (2, 1), (0, 2), (1, 2), 1),
        ((1, 1), (2, 2), (0, 0), (1, 1), 1),
        ((3, 3), (1, 2), (2, 1), (2, 1), 4),
        ((5, 3), (1, 1), (2, 1), (1, 1), 2),
    ],
)
def test_conv2d(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], groups: int
) -> None:
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups)
    sizes = zip((20, 31), kernel, stride, padding, dilation, strict=True)
    high, wide = (out_length(*axis) for axis in sizes)
    assert count_macs(layer, torch.zeros(1, 4, 20, 31)) == high * wide * 8 * (4 // groups) * kernel[0] * kernel[1]


def test_a_depthwise_convolution_reads_one_channel_for_each_output() -> None:
    assert count_macs(nn.Conv2d(16, 16, 3, padding=1, groups=16), torch.zeros(1, 16, 10, 7)) == 10 * 7 * 16 * 9


@pytest.mark.parametrize("bias", [True, False])
def test_linear_on_vectors_and_on_sequences(bias: bool) -> None:
    layer = nn.Linear(7, 11, bias)
    assert count_macs(layer, torch.zeros(1, 7)) == 77
    assert count_macs(layer, torch.zeros(1, 13, 7)) == 13 * 77
    assert count_macs(layer, torch.zeros(4, 13, 7)) == 4 * 13 * 77


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="PyTorch knows no GPU here")
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.RNN])  # a GRU has no kernel that only tells shapes
def test_a_recurrence_on_a_gpu_costs_what_it_costs_elsewhere(
    kind: type[nn.RNNBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_FREE", {*cost._FREE, "device"})  # asked of tensors that are only said to be on a GPU
    expected = count_macs(kind(4, 6, 2, bidirectional=True), torch.zeros(7, 1, 4))
    with FakeTensorMode():
        model = kind(4, 6, 2, bidirectional=True, device="cuda")
        assert count_macs(model, torch.zeros(7, 1, 4, device="cuda")) == expected


def test_a_residual_block() -> None:
    x = torch.zeros(1, 8, 12, 10)
    assert count_macs(Block(8, 8, 1), x) == 120 * 2 * 9 * 64
    assert count_macs(Block(8, 16, 2), x) == 30 * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)


@pytest.mark.parametrize(
    ("name", "width", "bands", "frames"), [("resnet10", 8, 60, 101), ("resnet18", 5, 33, 64), ("resnet34", 4, 60, 50)]
)
def test_a_resnet(name: str, width: int, bands: int, frames: int) -> None:
    expected = resnet_macs(LAYOUTS[name], width, bands, frames)
    assert count_macs(ResNet(LAYOUTS[name], width), torch.zeros(1, bands, frames)) == expected


def test_multihead_attention() -> None:
    model = nn.MultiheadAttention(12, 3, batch_first=True)
    products = 4 * 11 * 12 * 12 + 2 * 11 * 11 * 12  # projections, then queries x keys and weights x values
    assert count_macs(Op(lambda x: model.eval()(x, x, x)[0]), torch.zeros(1, 11, 12)) == products


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_layer(training: bool) -> None:
    model = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).train(training)
    products = 4 * 11 * 12 * 12 + 2 * 11 * 11 * 12 + 2 * 11 * 12 * 20
    assert count_macs(model, torch.zeros(1, 11, 12)) == products
    assert model.training is training


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (torch.fft.rfft, "_fft_r2c"),
        (lambda x: torch.cdist(x, x), "_cdist_forward"),
        (lambda x: torch.linalg.inv(x @ x.mT), "linalg_inv"),
    ],
)
def test_an_operator_of_unknown_cost_is_named(function: Callable[[Tensor], Tensor], operator: str) -> None:
    with pytest.raises(BenchError, match=operator):
        count_macs(Op(function), torch.randn(1, 4, 16))


def test_functional_products_count() -> None:
    x = torch.zeros(1, 5, 16)
    assert count_macs(Op(lambda x: x @ x.mT), x) == 5 * 5 * 16
    assert count_macs(Op(lambda x: torch.einsum("bij,bkj->bik", x, x)), x) == 5 * 5 * 16


def test_every_module_keeps_its_mode() -> None:
    model = Temporal().train()
    model.stem_norm.eval()  # frozen statistics in a network that trains
    modes = {name: module.training for name, module in model.named_modules()}
    count_macs(model, torch.zeros(1, 4, 20))
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_statistics_stay_as_they_are_and_an_error_leaves_no_trace() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), Op(torch.fft.rfft)).train()
    with pytest.raises(BenchError):
        count_macs(model, torch.randn(3, 4, 16))
    assert model.training
    assert torch.equal(model[0].running_mean, torch.zeros(4))


BUDGETS = (0.5, 0.25, 0.125, 0.0625)


SCORES: dict[str, Callable[[Widths], dict[str, Tensor]]] = {
    "norms": lambda w: w.norms(),
    "first norms": lambda w: w.norms(1),
    "proportional": lambda w: w.proportional(),
    "random": lambda w: {n: torch.rand(s, generator=torch.Generator().manual_seed(s)) for n, s in w.sizes.items()},
}


@pytest.fixture(scope="module")
def quick() -> Widths:
    torch.manual_seed(0)
    return Widths(ResNet(LAYOUTS["resnet10"], 8), torch.zeros(1, 60, 100))


@pytest.fixture(scope="module")
def paper() -> Widths:
    torch.manual_seed(0)
    return Widths(ResNet(LAYOUTS["resnet34"], 32), torch.zeros(1, 60, 32))


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_quick_model_delivers_its_budget(quick: Widths, budget: float, scores: str) -> None:
    sizes = quick.largest(SCORES[scores](quick), budget)
    assert 0.90 <= quick.macs(sizes) / (budget * quick.macs({})) <= 1
    indices = quick.strongest(SCORES[scores](quick), budget)
    assert {name: len(kept) for name, kept in indices.items()} == sizes
    assert count_macs(quick.keep(indices), quick.example_input) == quick.macs(sizes)


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_a_large_model_delivers_its_budget_closely(paper: Widths, budget: float, scores: str) -> None:
    sizes = paper.largest(SCORES[scores](paper), budget)
    assert 0.98 <= paper.macs(sizes) / (budget * paper.macs({})) <= 1


def test_multiples_are_honoured(paper: Widths) -> None:
    paper.multiple = 8
    try:
        for budget in BUDGETS:
            sizes = paper.largest(paper.norms(), budget)
            assert all(size % 8 == 0 for size in sizes.values())
            assert 0.90 <= paper.macs(sizes) / (budget * paper.macs({})) <= 1
    finally:
        paper.multiple = 1


def test_a_group_that_is_no_multiple_is_kept_whole_or_cut_to_one() -> None:
    scores = {"a": torch.rand(20), "b": torch.rand(6)}
    for limit in (14, 20, 25, 26):
        sizes = largest_within(scores, lambda s: s["a"] + s["b"], limit, multiple=8)
        assert sizes["b"] == 6
        assert sizes["a"] in (8, 16, 20)
        assert sum(sizes.values()) <= limit


def test_the_whole_budget_keeps_everything(quick: Widths) -> None:
    assert quick.largest(quick.norms(), 1.0) == quick.sizes


def test_the_strongest_channels_are_the_ones_with_the_best_scores(quick: Widths) -> None:
    scores = SCORES["random"](quick)
    for name, kept in quick.strongest(scores, 0.25).items():
        dead = torch.ones(quick.sizes[name], dtype=torch.bool).index_fill(0, kept, value=False)
        assert torch.equal(kept, kept.sort().values)
        assert not dead.any() or float(scores[name][kept].min()) >= float(scores[name][dead].max())


def test_nothing_more_would_fit(quick: Widths) -> None:
    for budget in BUDGETS:
        sizes = quick.largest(quick.norms(), budget)
        for name in (name for name, size in sizes.items() if size < quick.sizes[name]):
            assert quick.macs({**sizes, name: sizes[name] + 1}) > budget * quick.macs({})


def test_a_budget_that_nothing_reaches_names_the_smallest_model(quick: Widths) -> None:
    smallest = quick.macs(smallest_sizes(quick.sizes, 1))
    with pytest.raises(BudgetError, match=f"{smallest / quick.macs({}):.4f}.*larger budget"):
        quick.largest(quick.norms(), 1e-5)
    just_enough = smallest / quick.macs({})
    assert quick.largest(quick.norms(), just_enough * (1 + 1e-9)) == smallest_sizes(quick.sizes, 1)


def test_a_budget_is_a_fraction_of_the_reference(quick: Widths) -> None:
    small = quick.keep(quick.strongest(quick.norms(), 0.5))
    widths = Widths(small, quick.example_input, reference_macs=quick.macs({}))
    cut = widths.macs(widths.largest(widths.norms(), 0.25)) / quick.macs({})
    assert 0.22 <= cut <= 0.25


def test_channels_that_matter_have_the_larger_norm() -> None:
    model = mlp()
    with torch.no_grad():
        model[0].weight[3] *= 100
        model[2].weight[:, 3] *= 100
    norms = Widths(model, torch.zeros(1, 6)).norms()["0"]
    assert int(norms.argmax()) == 3
    assert float(norms.mean()) == pytest.approx(1, rel=1e-4)


def test_proportional_scores_shrink_every_group_alike(paper: Widths) -> None:
    shares = [size / paper.sizes[name] for name, size in paper.largest(paper.proportional(), 0.25).items()]
    assert 0.45 <= min(shares) <= max(shares) <= 0.55


def test_the_largest_model_that_fits_is_found_for_any_knob() -> None:
    example = torch.zeros(1, 6)
    made = largest_model(
        lambda share: mlp(hidden=max(1, int(64 * share))), lambda model: count_macs(model, example), 1200
    )
    assert [m.out_features for m in made if isinstance(m, nn.Linear)] == [30, 30, 2]  # 1140 MACs; with 31 it has 1209
    with pytest.raises(BudgetError, match=r"no setting reaches budget 5: .* costs 9\.0000"):
        largest_model(lambda share: mlp(hidden=1), lambda model: count_macs(model, example), 5)
    with pytest.raises(BudgetError, match=r"costs 33\.0000"):  # with two units; what is smaller is left whole
        largest_model(
            lambda share: mlp(hidden=2 if share > 0.4 else 64), lambda model: count_macs(model, example) + 13, 5
        )
