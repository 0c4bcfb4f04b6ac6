"""What methods that mask weights do on the way: schedules, layer densities, connections that move."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from bench import Method, Trainer
from bench.widths.masks import Masks, rank_shares
from methods.gradual_pruning import GradualPruning
from methods.nm_pruning import NmPruning, _strongest
from methods.rigl import Rigl
from methods.unstructured_pruning import UnstructuredPruning, lamp
from tests.models import Points

TASK = Points(hidden=24, batch_size=16)


def trainer(steps: int = 60) -> Trainer:
    dense = 6 * TASK.hidden + TASK.hidden**2 + 2 * TASK.hidden
    return Trainer(TASK, TASK.presets["quick"], steps=steps, seed=0, dense_macs=dense)


def linear_weights(model: nn.Module) -> list[Tensor]:
    return [module.weight.detach() for module in model.modules() if isinstance(module, nn.Linear)]


def live(model: nn.Module) -> list[int]:
    return [int((weight != 0).sum()) for weight in linear_weights(model)]


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The masks of a method, each time it sets them."""
    found: list[dict[str, Tensor]] = []

    def keep(self: Masks, masks: dict[str, Tensor]) -> None:
        original(self, masks)
        found.append({name: alive.clone() for name, alive in self.alive().items()})

    original = Masks.set
    monkeypatch.setattr(Masks, "set", keep)
    return found


METHODS: list[Method] = [
    *(UnstructuredPruning(budget=0.3, criterion=name, rounds=2) for name in ("global", "uniform", "lamp")),
    GradualPruning(budget=0.3),
    *(Rigl(budget=0.3, growth=name) for name in ("gradient", "random")),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_budget_is_met_to_one_weight(method: Method) -> None:
    torch.manual_seed(0)
    model = method.compress(TASK.build_model(), trainer())
    assert isinstance(model, nn.Module)
    assert sum(live(model)) == math.floor(0.3 * sum(weight.numel() for weight in linear_weights(model)))
    assert not any(hasattr(module, "parametrizations") for module in model.modules())


def test_a_uniform_criterion_keeps_the_same_share_of_each_layer() -> None:
    torch.manual_seed(0)
    model = TASK.build_model()
    small = UnstructuredPruning(budget=0.3, criterion="uniform").compress(model, trainer())
    sizes = [weight.numel() for weight in linear_weights(small)]
    assert [n / size for n, size in zip(live(small), sizes, strict=True)] == pytest.approx([0.3] * 3, abs=0.02)


def test_rounds_approach_the_budget_geometrically_and_nothing_comes_back(masked: list[dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    UnstructuredPruning(budget=1 / 16, rounds=4).compress(TASK.build_model(), trainer())
    shares = [float(torch.cat([own.flatten() for own in masks.values()]).float().mean()) for masks in masked]
    assert shares == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16], abs=0.002)
    for before, after in itertools.pairwise(masked):
        assert not any(bool((after[name] & ~before[name]).any()) for name in before)


def test_lamp_is_its_equation() -> None:
    weights = torch.tensor([[3.0, 1.0], [2.0, 0.5]])
    squares = weights.square()
    expected = [[float(w / squares[squares >= w].sum()) for w in row] for row in squares]
    assert lamp(weights).tolist() == [pytest.approx(row) for row in expected]


def test_gradual_pruning_follows_its_cubic(masked: list[dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    GradualPruning(budget=0.2, begin=0.1, end=0.6, updates=5).compress(TASK.build_model(), trainer(100))
    density = [float(torch.cat([own.flatten() for own in masks.values()]).float().mean()) for masks in masked]
    assert density == pytest.approx([0.2 + 0.8 * (1 - k / 5) ** 3 for k in range(6)], abs=0.003)


def test_layers_of_sparse_training_have_the_densities_of_the_erdos_renyi_kernel(
    masked: list[dict[str, Tensor]],
) -> None:
    Rigl(budget=0.3).compress(TASK.build_model(), trainer())
    full = dict(TASK.build_model().named_parameters())
    scale = {n: float(own.float().mean()) * full[n].numel() / sum(full[n].shape) for n, own in masked[0].items()}
    free = [value for name, value in scale.items() if not masked[0][name].all()]
    assert len(free) > 1 and free == pytest.approx([free[0]] * len(free), rel=0.05)


def test_connections_move_where_gradients_are_large_and_fewer_each_time(masked: list[dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    Rigl(budget=0.3, updates=6, drop=0.5).compress(TASK.build_model(), trainer(120))
    moves = [
        sum(int((after[name] & ~before[name]).sum()) for name in before) for before, after in itertools.pairwise(masked)
    ]
    assert len(moves) == 6 and moves[0] > 10 and moves == sorted(moves, reverse=True) and moves[-1] == 0


def test_growth_is_where_the_gradient_of_the_dense_weight_is_largest() -> None:
    torch.manual_seed(0)
    model = TASK.build_model()
    masks = Masks(trainer().widths(model), taps=True)
    masks.keep_first({name: rank_shares(torch.rand_like(own)) for name, own in masks.full().items()}, 0.3)
    masks.watch_gradients(True)
    batch = next(TASK.batches("train", 0))
    model.train()
    TASK.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    plain = TASK.build_model().train()
    before, expected = masks.alive(), {}
    for name, parameter in plain.named_parameters():
        full = masks.full().get(name)
        own = model.get_parameter(name) if full is None else full * before[name]
        parameter.data.copy_(own.detach())
    TASK.loss(plain, batch).backward()  # type: ignore[no-untyped-call]
    expected = {name: plain.get_parameter(name).grad for name in before}
    for name, found in masks.gradients().items():
        assert torch.allclose(found, expected[name], atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pattern", "kept", "of"), [("2:4", 2, 4), ("1:4", 1, 4)])
def test_of_every_four_weights_in_a_row_the_largest_stay(pattern: str, kept: int, of: int) -> None:
    torch.manual_seed(0)
    run = trainer()
    model = NmPruning(pattern=pattern).compress(TASK.build_model(), run)
    first, *rest = linear_weights(model)
    assert bool((first != 0).all()) and any("0: dense" in note for note in run.notes)  # six inputs
    for weight in rest:
        assert bool(((weight != 0).view(-1, of).sum(1) == kept).all())


def test_a_row_is_what_one_output_reads_of_a_transposed_convolution_too() -> None:
    weight = torch.randn(8, 3, 2, 2)  # inputs, outputs, taps
    for full, axis in ((weight, 1), (weight.transpose(0, 1), 0)):
        mask = _strongest(full, 2, 4, axis).transpose(0, axis)
        assert bool((mask.permute(0, 2, 3, 1).reshape(-1, 4).sum(1) == 2).all())


class Upsampled(nn.Module):
    """Eight features, and three outputs of each frame: the pattern divides what an output reads, not what is made."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 8, 3, padding=1)
        self.last = nn.ConvTranspose1d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.unflatten(1, (2, -1))).relu()).mean(2)[:, :2]


def test_n_of_m_follows_the_outputs_of_a_transposed_convolution() -> None:
    torch.manual_seed(0)
    run = trainer()
    model = NmPruning().compress(Upsampled(), run)
    last = model.get_parameter("last.weight").detach()
    assert bool(((last != 0).transpose(0, 1).reshape(-1, 4).sum(1) == 2).all())
