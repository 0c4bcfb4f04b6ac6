"""Ranks under a budget: the choice against all others, what is delivered, what cannot be."""

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import BudgetError, Chain, Trainer, count_macs
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx, rebuilt_model, save_module
from methods._low_rank import most_energy, options, total_macs
from methods.low_rank import LowRank
from methods.magnitude_pruning import MagnitudePruning
from tests.methods.test_methods_on_architectures import begun
from tests.models import Points

#: the share of the dense compute that is asked for: half of what the layers that can be factorised cost, or less
REACHED = {
    "gru": 0.6,
    "lstm both ways": 0.6,
    "transformer": 0.5,
    "encoder, norm first": 0.5,
    "encoder, time first": 0.5,
    "grouped": 0.9,
    "torchaudio DeepSpeech": 0.5,
    "torchaudio Wav2Letter": 0.25,
    "torchaudio Conformer": 0.4,
    "torchvision-style ResNet": 0.25,
    "torchvision-style ResNeXt": 0.5,
}


def test_a_layer_may_have_every_rank_that_costs_less_than_it() -> None:
    values = torch.tensor([4.0, 2.0, 1.0, 0.5])
    made = options(values, (4, 12), 5 * 48)  # at five positions; each rank costs 5 * (4 + 12)
    assert [(o.rank, o.macs) for o in made] == [(1, 80), (2, 160), (None, 240)]  # three would cost 240
    shares = [16 / 21.25, 20 / 21.25, 1.0]
    assert [math.exp(o.worth) for o in made] == pytest.approx(shares)
    assert [o.rank for o in options(values, (4, 12), 5 * 48, multiple=2)] == [2, None]
    assert [o.rank for o in options(torch.zeros(4), (4, 12), 5 * 48)] == [1, 2, None]


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (6, 8), "b": (8, 12), "c": (5, 30)}
    layers = {}
    for name, (outputs, inputs) in shapes.items():
        falling = torch.rand(outputs, generator=generator).sort(descending=True).values ** 2
        layers[name] = options(falling, (outputs, inputs), 3 * outputs * inputs)
    every = [dict(zip(layers, chosen, strict=True)) for chosen in itertools.product(*layers.values())]
    for limit in (210, 300, 450, 600, 750):
        found = most_energy(layers, limit)
        best = max(sum(o.worth for o in c.values()) for c in every if total_macs(c) <= limit)
        assert total_macs(found) <= limit
        assert sum(o.worth for o in found.values()) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("architecture", REACHED)
def test_it_delivers_its_budget(architecture: str) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    budget, example = REACHED[architecture], task.example_input()
    result = LowRank(budget=budget).compress(model, trainer)
    assert trainer.steps_left == 0
    macs, exported = count_macs(result, example), export_onnx(result, example)
    assert macs == file_costs(exported, tuple(example.shape)).macs
    assert 0.95 * budget * dense_macs <= macs <= budget * dense_macs
    x = next(task.batches("dev", 3)).inputs
    with torch.no_grad():
        expected = result(x)
    torch.testing.assert_close(Predictor(exported)(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("architecture", ["transformer", "torchaudio Wav2Letter", "torchvision-style ResNet"])
def test_between_two_prunings_it_is_built_again(architecture: str, tmp_path: Path) -> None:
    task, model, trainer, dense_macs = begun(architecture)
    links = MagnitudePruning(budget=0.85), LowRank(budget=0.6), MagnitudePruning(budget=0.5)
    result = Chain(links=links).compress(model, trainer)
    assert 0.4 * dense_macs <= count_macs(result, task.example_input()) <= 0.5 * dense_macs
    save_module(result, task, tmp_path)
    module, x = rebuilt_model(task, tmp_path), next(task.batches("dev", 3)).inputs
    assert module is not None
    with torch.no_grad():
        torch.testing.assert_close(module(x), result(x))


def test_a_budget_that_cannot_be_reached_names_the_least_that_can() -> None:
    _, model, trainer, _ = begun("transformer")
    with pytest.raises(BudgetError, match=r"can reach has 0\.\d{4} of the dense compute") as error:
        LowRank(budget=0.25).compress(model, trainer)
    assert trainer.steps_left == 6  # it is known before any training
    least = math.ceil(1e4 * float(re.findall(r"can reach has (0\.\d+)", str(error.value))[0]) + 1) / 1e4
    task, model, trainer, dense_macs = begun("transformer")
    result = LowRank(budget=least).compress(model, trainer)
    assert least - 3e-4 <= count_macs(result, task.example_input()) / dense_macs <= least
    assert trainer.notes == ["Low rank leaves whole what it cannot make two layers of: positions.weight."]


@pytest.mark.parametrize(("multiple", "budget"), [(1, 0.5), (4, 0.5), (1, 1.0)])
def test_ranks_are_multiples_and_all_of_the_compute_changes_nothing(multiple: int, budget: float) -> None:
    task = Points(hidden=40, batch_size=16)
    torch.manual_seed(0)
    model = task.build_model()
    dense_macs = count_macs(model, task.example_input())
    options = {"seed": 0, "dense_macs": dense_macs, "width_multiple": multiple}
    result = LowRank(budget=budget).compress(model, Trainer(task, task.presets["quick"], steps=2, **options))
    ranks = [len(pair[0].weight) for pair in result.children() if isinstance(pair, nn.Sequential)]
    assert bool(ranks) == (budget < 1) and not any(rank % multiple for rank in ranks)
    assert count_macs(result, task.example_input()) >= 0.9 * budget * dense_macs
