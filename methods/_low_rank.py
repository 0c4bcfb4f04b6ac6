"""Ranks of the layers of a whole network under one budget."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from methods._knapsack import best_choices


class Option(NamedTuple):
    """What a layer may become: of a rank, or whole if that is None."""

    rank: int | None
    macs: int
    worth: float  # logarithm of the share of the weight's energy that is left


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
