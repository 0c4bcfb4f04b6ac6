"""Masks pay in multiply-accumulates, to one connection, and leave a plain model."""

import pytest
import torch
from torch import nn

from bench import BudgetError, Widths, count_macs
from bench.export.costs import file_costs
from bench.export.model import export_onnx
from bench.widths.masks import Masks
from tests.models import Branches, mlp, randomise_norms


def branches() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return randomise_norms(Branches()), torch.zeros(1, 2, 8, 6)


@pytest.mark.parametrize("taps", [False, True])
@pytest.mark.parametrize("budget", [1.0, 0.5, 0.1])
def test_the_budget_is_met_in_the_macs_of_the_exported_file(budget: float, taps: bool) -> None:
    model, example = branches()
    dense = count_macs(model, example)
    masks = Masks(Widths(model, example), taps=taps)
    masks.keep_first({name: -strength for name, strength in masks.strengths().items()}, masks.density(budget))
    masks.fold()
    costs = file_costs(export_onnx(model.eval(), example), tuple(example.shape))
    dearest = 48 * (1 if taps else 9)  # positions of a convolution, and its taps
    assert costs.macs == dense
    assert budget * dense - dearest < costs.effective_macs <= budget * dense


def test_strong_connections_stay_and_a_pair_stays_whole() -> None:
    model, example = branches()
    masks = Masks(Widths(model, example))
    strengths = masks.strengths()
    masks.keep_first({name: -own for name, own in strengths.items()}, 0.5)
    masks.fold()
    weight = model.get_parameter("mix.weight").detach()
    kept = (weight != 0).flatten(2)
    assert torch.equal(kept.any(2), kept.all(2))
    assert float(strengths["mix.weight"][kept.any(2)].min()) >= float(strengths["mix.weight"][~kept.any(2)].max())


def test_rescaling_keeps_the_variance_of_what_an_output_receives() -> None:
    torch.manual_seed(0)
    model = mlp(64, 512, 16)
    before = model[2].weight.detach().square().sum(1).mean()
    masks = Masks(Widths(model, torch.zeros(1, 64)))
    drawn = {name: torch.rand_like(own) for name, own in masks.strengths().items()}
    for rescale, expected in ((True, 1.0), (False, 0.25)):
        masks.keep_first(drawn, 0.25, rescale=rescale)
        assert float(model[2].weight.detach().square().sum(1).mean() / before) == pytest.approx(expected, rel=0.05)


def test_masked_weights_get_no_gradient() -> None:
    model = mlp(6, 32, 16)
    masks = Masks(Widths(model, torch.zeros(1, 6)))
    masks.keep_first({name: -own for name, own in masks.strengths().items()}, 0.3)
    model(torch.randn(8, 6)).square().sum().backward()
    for name, full in masks.full().items():
        assert full.grad is not None
        assert not bool(full.grad[~masks.alive()[name]].any()) and bool(full.grad.any())


def test_nothing_changes_before_the_first_mask_nor_by_folding() -> None:
    model, example = branches()
    names, x = set(model.state_dict()), torch.randn(3, *example.shape[1:])
    with torch.no_grad():
        untouched = model(x)
        masks = Masks(Widths(model, example))
        assert torch.equal(model(x), untouched)
        masks.keep_first({name: -own for name, own in masks.strengths().items()}, 0.4)
        masked = model(x)
        masks.fold()
        assert torch.allclose(model(x), masked, atol=1e-6) and not torch.allclose(masked, untouched)
    assert set(model.state_dict()) == names
    assert not any(hasattr(module, "parametrizations") for module in model.modules())


def test_a_budget_below_what_no_mask_acts_on_is_refused() -> None:
    widths = Widths(mlp(6, 32, 16), torch.zeros(1, 6))
    fixed = 6 * 32 / (6 * 32 + 32 * 32 + 32 * 16)
    masks = Masks(widths, ["2.weight", "4.weight"])
    assert masks.density(1.0) == 1.0
    assert masks.density(0.5) == pytest.approx((0.5 - fixed) / (1 - fixed))
    with pytest.raises(BudgetError, match=f"{fixed:.4f}"):
        masks.density(0.1)
