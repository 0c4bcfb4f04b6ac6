"""The largest model within a budget, for those who can rank channels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench import BudgetError, Widths
from bench.widths.cost import count_macs, largest_within, smallest_sizes
from tasks.antispoof.resnet import LAYOUTS, ResNet
from tests.models import mlp

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
        for name, size in sizes.items():
            if size < quick.sizes[name]:
                assert quick.macs({**sizes, name: size + 1}) > budget * quick.macs({})


def test_a_budget_that_nothing_reaches_names_the_smallest_model(quick: Widths) -> None:
    smallest = quick.macs(smallest_sizes(quick.sizes, 1))
    with pytest.raises(BudgetError, match=f"{smallest:,}.*larger budget"):
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
