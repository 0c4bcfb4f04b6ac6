"""Ranks of the layers of a whole network under one budget."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench import BudgetError, Declined, Trainer, Widths, factorizable
from methods._knapsack import best_choices


class Option(NamedTuple):
    """What a layer may become: of a rank, or whole if that is None."""

    rank: int | None
    macs: int
    worth: float  # logarithm of the share of the weight's energy that is left


def layer_options(widths: Widths, trainer: Trainer) -> dict[str, list[Option]]:
    """What each product of a model that can be factorised may become, cheapest first; a note names the others.

    Attention is taken to read one tensor: where queries, keys and values differ, its first layer costs more than this.
    """
    if widths.price.axis != "macs":
        raise Declined(f"low rank chooses ranks by MACs and knows no price in {widths.price.axis}; try --cost macs")
    dense, found, whole = widths.weight_macs, {}, set(widths.weight_macs)
    for name, weight in factorizable(widths.model).items():
        if weight in dense:  # a model may hold layers that it does not use
            matrix = widths.model.get_parameter(weight).detach().flatten(1)
            values = torch.linalg.svdvals(matrix.double())
            found[name] = options(values, matrix.shape, dense[weight], widths.multiple)
            whole.remove(weight)
    if whole:
        trainer.note(f"Low rank leaves whole what it cannot make two layers of: {', '.join(sorted(whole))}.")
    return found


def options(singular_values: Tensor, shape: Sequence[int], dense_macs: int, multiple: int = 1) -> list[Option]:
    """Every rank at which a layer costs less than it does whole, cheapest first, then the whole layer.

    Args:
        singular_values: of its weight as a matrix, falling, (n,).
        shape: of that matrix, (outputs, inputs * taps); both factors are used at as many positions as the layer.
        dense_macs: of the layer.
        multiple: ranks are multiples of this.
    """
    unit = dense_macs // (shape[0] * shape[1]) * (shape[0] + shape[1])
    energy = singular_values.double().square().cumsum(0).clamp(min=1e-30)
    worths = (energy / energy[-1]).log().tolist()
    ranks = range(multiple, len(worths) + 1, multiple)
    cheaper = [Option(rank, rank * unit, worths[rank - 1]) for rank in ranks if rank * unit < dense_macs]
    return [*cheaper, Option(None, dense_macs, 0.0)]


def unfactorized_macs(layers: Mapping[str, Sequence[Option]], widths: Widths) -> int:
    """MACs of all that is none of these layers."""
    weights, dense = factorizable(widths.model), widths.weight_macs
    left: int = widths.macs({}) - sum(dense[weights[name]] for name in layers)
    return left


def least_budget(layers: Mapping[str, Sequence[Option]], widths: Widths) -> float:
    """The compute of the smallest model, every layer as cheap as it can be, as a fraction of the dense compute."""
    return (unfactorized_macs(layers, widths) + sum(own[0].macs for own in layers.values())) / widths.reference_macs


def ranks_within(layers: Mapping[str, Sequence[Option]], widths: Widths, budget: float) -> dict[str, int]:
    """The ranks of the layers that become two, so that the model has as much energy as the budget allows.

    Raises:
        BudgetError: even the smallest model costs more; the message names its cost.
    """
    fixed = unfactorized_macs(layers, widths)
    if (least := least_budget(layers, widths)) > budget:
        raise BudgetError(
            f"low rank leaves {fixed / widths.reference_macs:.4f} of the dense compute whole (products of activations, "
            "hidden states of recurrences, grouped and transposed convolutions), so that the smallest model it can "
            f"reach has {least:.4f} of the dense compute; ask for a larger budget"
        )
    chosen = most_energy(layers, budget * widths.reference_macs - fixed)
    return {name: option.rank for name, option in chosen.items() if option.rank is not None}


def most_energy(layers: Mapping[str, Sequence[Option]], limit: float) -> dict[str, Option]:
    """The option of each layer for which the product of the shares of energy is largest, within ``limit`` MACs.

    Zhang et al. (arXiv 1505.06798) maximise this product, of energies of responses. If even the cheapest options cost
    more than ``limit``, they are returned.
    """
    if limit <= 0:
        return {name: own[0] for name, own in layers.items()}
    costs = [[option.macs for option in own] for own in layers.values()]
    losses = [[-option.worth for option in own] for own in layers.values()]
    return {name: layers[name][place] for name, place in zip(layers, best_choices(costs, losses, limit), strict=True)}


def total_macs(chosen: Mapping[str, Option]) -> int:
    """MACs of these layers together."""
    return sum(option.macs for option in chosen.values())
