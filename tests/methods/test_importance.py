"""Importances of the width graph's groups are those of Torch-Pruning's own graph, or what it says that they are."""

import copy
from typing import Any, cast

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn

from bench import Batch, Declined, Trainer, Widths
from bench.widths.cost import count_macs
from methods._importance import CRITERIA, IMPORTANCES, importances
from methods.group_norm import GroupNorm, _held_down
from methods.importance_pruning import ImportancePruning
from methods.torch_pruning import TorchPruning
from tests.models import Points, mlp, randomise_norms
from tests.widths.test_volumes import NETS, SHAPE

WEIGHTS_ONLY = ("group_norm", "magnitude", "lamp", "bn_scale")


class Residual(nn.Module):
    """(B, 3, 12, 12) -> (B, 5): a stem, two residual blocks of which one is depthwise, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 1))
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.hidden, self.head = nn.Linear(8, 10), nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.first(x)
        x = x + self.second(x)
        return self.head(self.hidden(x.mean((2, 3))).relu())  # type: ignore[no-any-return]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return randomise_norms(Residual()).eval()


EXAMPLE = torch.zeros(1, 3, 12, 12)


class Flat:
    """What importances need of a trainer: batches, and a loss."""

    def batches(self) -> Any:
        generator = torch.Generator().manual_seed(3)
        while True:
            inputs = torch.randn(4, 3, 12, 12, generator=generator)
            yield Batch(inputs, torch.randint(5, (4,), generator=generator))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch.inputs), batch.targets)


def ours(network: nn.Module, criterion: str, batches: int = 3) -> dict[str, Tensor]:
    widths = Widths(copy.deepcopy(network), EXAMPLE)
    return importances(criterion, widths, Flat(), batches)  # type: ignore[arg-type]


def theirs(network: nn.Module, importance: Any, widths: Widths) -> dict[str, Tensor]:
    """By the dependency graph of Torch-Pruning, from the first layer that makes each group on."""
    graph, found = tp.DependencyGraph().build_dependency(network, EXAMPLE), {}
    for group in widths.groups:
        layer = network.get_submodule(group.producers[0].layer)
        prune = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
        scores = importance(graph.get_pruning_group(layer, prune, idxs=list(range(group.size))))
        if scores is not None:
            found[group.name] = scores
    return found


@pytest.mark.parametrize("criterion", WEIGHTS_ONLY)
def test_they_are_those_of_torch_prunings_own_graph(network: nn.Module, criterion: str) -> None:
    found = ours(network, criterion)
    expected = theirs(network, IMPORTANCES[criterion](), Widths(copy.deepcopy(network), EXAMPLE))
    assert set(found) == set(expected) and len(found) >= (1 if criterion == "bn_scale" else 3)
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores, rtol=1e-5, atol=1e-6)


def gradients(network: nn.Module, batches: int) -> dict[str, Tensor]:
    network.zero_grad()
    for batch, _ in zip(Flat().batches(), range(batches), strict=False):
        Flat().loss(network, batch).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_the_taylor_expansion_is_theirs_where_there_is_no_batch_norm(network: nn.Module) -> None:
    plain = copy.deepcopy(network)
    plain.stem[1], plain.first[1] = nn.Identity(), nn.Identity()  # type: ignore[index,operator]
    widths = Widths(copy.deepcopy(plain), EXAMPLE)
    found = importances("taylor", widths, Flat(), 3)  # type: ignore[arg-type]
    gradients(plain, 3)
    for name, scores in theirs(plain, tp.importance.GroupTaylorImportance(), widths).items():
        torch.testing.assert_close(found[name], scores, rtol=1e-4, atol=1e-6)


def share(parts: list[Tensor]) -> Tensor:
    total = torch.stack(parts).sum(0)
    return total / total.mean()


def test_the_taylor_expansion_counts_batch_norms(network: nn.Module) -> None:
    found, slopes = ours(network, "taylor"), gradients(network, 3)
    products = {name: (p.detach() * slopes[name]).abs() for name, p in network.named_parameters()}
    made, scale, read = products["first.0.weight"], products["first.1.weight"], products["first.3.weight"]
    expected = share([made.flatten(1).sum(1), scale, read.transpose(0, 1).flatten(1).sum(1)])
    torch.testing.assert_close(found["first.0"], expected, rtol=1e-4, atol=1e-6)


def test_the_hessian_is_of_all_samples(network: nn.Module) -> None:
    found = ours(network, "hessian", batches=6)
    one, two = (batch for batch, _ in zip(Flat().batches(), range(2), strict=False))
    inputs, targets = torch.cat([one.inputs, two.inputs])[:6], torch.cat([one.targets, two.targets])[:6]
    squares = {"hidden": torch.zeros(10, 8), "head": torch.zeros(5, 10)}
    for x, y in zip(inputs, targets, strict=True):
        network.zero_grad()
        Flat().loss(network, Batch(x[None], y[None])).backward()  # type: ignore[no-untyped-call]
        for name in squares:
            squares[name] += network.get_parameter(f"{name}.weight").grad.square() / 6  # type: ignore[union-attr]
    curved = {n: network.get_parameter(f"{n}.weight").detach().square() * own for n, own in squares.items()}
    expected = share([curved["hidden"].sum(1), curved["head"].sum(0)])
    torch.testing.assert_close(found["hidden"], expected, rtol=1e-4, atol=1e-6)


def test_fpgm_is_the_sum_of_distances_to_the_other_filters(network: nn.Module) -> None:
    made = network.hidden.weight.detach()  # type: ignore[union-attr,operator]
    read = network.head.weight.detach().T  # type: ignore[union-attr,operator]
    expected = share([torch.stack([(own - w).norm(dim=1).sum() for own in w]) for w in (made, read)])
    torch.testing.assert_close(ours(network, "fpgm")["hidden"], expected, rtol=1e-4, atol=1e-6)


def test_random_importances_are_drawn(network: nn.Module) -> None:
    torch.manual_seed(5)
    drawn = ours(network, "random")
    assert {name: len(scores) for name, scores in drawn.items()} == Widths(network, EXAMPLE).sizes
    assert len({float(scores[0]) for scores in drawn.values()}) == len(drawn)


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "hessian", "bn_scale"])
def test_slopes_of_an_activation_say_nothing(network: nn.Module, criterion: str) -> None:
    """Torch-Pruning has no importance of a PReLU's weights, which belong to the channels like those of a norm."""
    with_slopes = copy.deepcopy(network)
    with_slopes.stem[2] = nn.PReLU(8, init=0.0)  # type: ignore[index,operator]
    expected, found = ours(network, criterion), ours(with_slopes, criterion)
    assert found.keys() == expected.keys()
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores)


def test_a_criterion_that_finds_nothing_to_look_at_declines() -> None:
    widths = Widths(mlp(6, 16), torch.zeros(1, 6))
    with pytest.raises(Declined, match="bn_scale"):
        importances("bn_scale", widths, Flat(), 1)  # type: ignore[arg-type]


# --- the methods


TASK = Points(hidden=32, batch_size=16)


def trainer(steps: int = 60) -> Trainer:
    dense = 6 * TASK.hidden + TASK.hidden**2 + 2 * TASK.hidden
    return Trainer(TASK, TASK.presets["quick"], steps=steps, seed=0, dense_macs=dense)


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "bn_scale"])
def test_each_criterion_meets_the_budget(criterion: str) -> None:
    torch.manual_seed(0)
    run = trainer()
    small = ImportancePruning(budget=0.25, criterion=criterion, rounds=2).compress(TASK.build_model(), run)
    assert 0.2 <= run.cost(small) <= 0.25 and run.steps_left == 0


def test_torch_prunings_own_pruner_meets_the_budget() -> None:
    torch.manual_seed(0)
    run = trainer()
    small = TorchPruning(budget=0.25).compress(TASK.build_model(), run)
    assert 0.15 <= run.cost(small) <= 0.25 and run.steps_left == 0
    assert small[-1].out_features == 2  # type: ignore[index]


class Attending(nn.Module):
    """Attention over a single token."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.heads, self.last = nn.Linear(6, 48), nn.MultiheadAttention(48, 4), nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.first(x)[None]
        return self.last((tokens + self.heads(tokens, tokens, tokens, need_weights=False)[0])[0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("budget", [0.7, 0.35])
def test_features_of_attention_are_pruned_for_all_heads_alike(budget: float) -> None:
    torch.manual_seed(0)
    run, model = trainer(), Attending()
    run.dense_macs = count_macs(model, TASK.example_input())
    small = TorchPruning(budget=budget).compress(model, run)
    assert 0.6 * budget <= run.cost(small) <= budget
    assert small.get_submodule("first").out_features % 4 == 0  # type: ignore[operator]


def test_what_it_cannot_prune_is_declined() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)[:, torch.tensor([0, 3, 5, 7])])  # type: ignore[no-any-return]

    with pytest.raises(Declined, match="Torch-Pruning cannot prune this network"):
        TorchPruning().compress(Odd(), trainer())


def test_the_penalty_is_half_the_squared_weights_of_each_channel_as_hard_as_it_is_held() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    widths, hard = Widths(model, torch.zeros(1, 3)), torch.tensor([1.0, 0.0, 2.0, 0.5])
    made, read = model[0].weight, model[2].weight
    expected = 0.5 * (hard * (made.square().sum(1) + read.square().sum(0))).sum()
    torch.testing.assert_close(_held_down(widths, {"0": hard}), expected)


@pytest.mark.parametrize("form", ["soft", "chosen"])
def test_channels_that_are_held_down_fade(form: str) -> None:
    faded = []
    for strength in (1e-6, 1.0):
        torch.manual_seed(0)
        model, run = TASK.build_model(), trainer(200)
        norms: list[Tensor] = []
        method = GroupNorm(budget=0.25, form=form, strength=strength, warm_up_share=0.05)
        widths, keep = run.widths(model), Widths.keep

        def spy(self: Widths, kept: Any, norms: list[Tensor] = norms, keep: Any = keep) -> nn.Module:
            norms.append(torch.cat([w.norm(dim=0) for w in (self.model[2].weight,)]).detach())  # type: ignore[union-attr,operator,index]
            return keep(self, kept)  # type: ignore[no-any-return]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Widths, "keep", spy)
            small = method.compress(model, run)
        assert widths.sizes and run.cost(small) <= 0.25
        faded.append(float(norms[0].sort().values[:16].mean()))
    assert faded[1] < 0.5 * faded[0]


@pytest.mark.parametrize("name", ["transposed", "nearest"])
def test_norms_of_single_examples_are_passed_over(name: str) -> None:
    """Instance and group norms, which were once read as if they were linear layers."""
    widths = Widths(NETS[name](), torch.zeros(SHAPE))
    for criterion in ("group_norm", "magnitude", "lamp", "fpgm"):
        scores = importances(criterion, widths, cast(Trainer, None), 1)
        assert {n: len(own) for n, own in scores.items()} == widths.sizes
