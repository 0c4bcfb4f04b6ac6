"""One factorised network at several ranks."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import Batch, BudgetError, Trainer, count_macs, factorizable
from bench.check import Probe
from methods.low_rank import LowRank
from methods.nested_subspaces import NestedSubspaces
from tests.methods.test_methods_on_architectures import begun

SERVED = "0.7 0.5 0.3"


def probe(kind: type[Trainer] = Trainer, learning_rate: float = 3e-3) -> tuple[nn.Module, Trainer]:
    torch.manual_seed(0)
    task = Probe()
    model, plan = task.build_model(), replace(task.presets["smoke"], learning_rate=learning_rate)
    return model, kind(task, plan, steps=8, seed=0, dense_macs=count_macs(model, task.example_input()))


def factors(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """A, (rank, inputs * taps), and B, (outputs, rank), of each factorised layer."""
    pairs = {name: pair for name, pair in model.named_modules() if isinstance(pair, nn.Sequential) and len(pair) == 2}
    found = {name: (pair[0].weight.detach(), pair[1].weight.detach()) for name, pair in pairs.items()}
    return {name: (a.flatten(1), b.flatten(1)) for name, (a, b) in found.items()}


def test_each_model_has_the_leading_columns_and_rows_of_the_larger_ones() -> None:
    found = []
    for budget in map(float, SERVED.split()):
        model, trainer = probe()
        small = NestedSubspaces(budget=budget, budgets=SERVED).compress(model, trainer)
        assert trainer.steps_left == 0 and 0.95 * budget <= trainer.cost(small) <= budget
        found.append(factors(small))
    assert set(found[0]) == {"stem.0", "inner.0", "back"}  # the head costs too little to matter
    for larger, smaller in pairwise(found):
        assert any(len(larger[name][0]) > len(smaller[name][0]) for name in smaller)
        for name, (a, b) in smaller.items():
            rank = min(len(a), len(larger[name][0]))
            assert torch.equal(a[:rank], larger[name][0][:rank]) and torch.equal(b[:, :rank], larger[name][1][:, :rank])


def test_before_any_learning_it_is_the_best_approximation_of_these_ranks() -> None:
    model, trainer = probe(learning_rate=0.0)
    dense = {name: model.get_parameter(weight).detach().flatten(1) for name, weight in factorizable(model).items()}
    small = NestedSubspaces(budget=0.3, budgets=SERVED).compress(model, trainer)
    assert factors(small)
    for name, (a, b) in factors(small).items():
        left, values, right = torch.linalg.svd(dense[name].double(), full_matrices=False)
        best = left[:, : len(a)] * values[: len(a)] @ right[: len(a)]
        torch.testing.assert_close(b @ a, best.float(), atol=1e-6, rtol=1e-5)


class Overheard(Trainer):
    """Keeps what it is told to fit instead of fitting it."""

    def fit(self, model: nn.Module, *_: Any, **told: Any) -> None:
        self.model, self.told = model.eval(), told


def test_the_loss_is_that_of_two_ranks_each_as_uncertain_as_learned() -> None:
    torch.manual_seed(1)
    inputs, targets = torch.randn(6, 8, 20), torch.arange(6) % 2
    models = {}
    for budget in (0.7, 0.3):  # cut after no training at all
        model, trainer = probe(Overheard)
        models[budget] = NestedSubspaces(budget=budget, budgets="0.3 0.7", batches=0).compress(model, trainer)
    assert isinstance(trainer, Overheard)
    (group,) = trainer.told["extra_parameters"]
    (uncertain,) = group["params"]
    assert uncertain.tolist() == [0, 0] and group["weight_decay"] == 0
    uncertain.data = torch.tensor([0.5, -0.25])
    with torch.no_grad():
        loss = trainer.told["loss"](trainer.model, Batch(inputs, targets))
        halves = zip(models.values(), inputs.chunk(2), targets.chunk(2), strict=True)
        large, small = (nn.functional.cross_entropy(cut(x), y) for cut, x, y in halves)
    expected = torch.tensor(-0.5).exp() * large + 0.5 + torch.tensor(0.25).exp() * small - 0.25
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("architecture", "budget"),
    [("gru", 0.6), ("transformer", 0.5), ("torchaudio Wav2Letter", 0.125), ("torchvision-style ResNet", 0.25)],
)
def test_it_delivers_its_budget_beside_a_larger_one(architecture: str, budget: float) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    small = NestedSubspaces(budget=budget, budgets=f"0.7 {budget}", batches=1).compress(model, trainer)
    assert trainer.steps_left == 0
    assert 0.95 * budget * dense_macs <= count_macs(small, task.example_input()) <= budget * dense_macs


def test_a_budget_out_of_reach_is_declined_and_the_others_do_without() -> None:
    results: list[Mapping[str, Tensor]] = []
    for budgets in ("0.7 0.1", "0.7"):
        _, model, trainer, _ = begun("transformer")
        results.append(NestedSubspaces(budget=0.7, budgets=budgets).compress(model, trainer).state_dict())
    assert all(torch.equal(tensor, results[1][name]) for name, tensor in results[0].items())
    _, model, trainer, _ = begun("transformer")
    with pytest.raises(BudgetError, match=r"can reach has 0\.\d{4} of the dense compute"):
        NestedSubspaces(budget=0.1, budgets="0.7 0.1").compress(model, trainer)
    assert trainer.steps_left == 6


def test_for_one_budget_it_starts_as_low_rank_does() -> None:
    model, trainer = probe(learning_rate=0.0)
    nested = NestedSubspaces(budget=0.4).compress(model, trainer)
    model, trainer = probe(learning_rate=0.0)
    plain = LowRank(budget=0.4).compress(model, trainer)
    assert {n: w.shape for n, w in nested.named_parameters()} == {n: w.shape for n, w in plain.named_parameters()}
    assert all(torch.equal(w, plain.get_parameter(name)) for name, w in nested.named_parameters())
