"""Ranks of the layers of a whole network under one budget."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

HALVINGS = 60  # of the interval in which the price of compute is looked for


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

    Zhang et al. (arXiv 1505.06798) maximise this product, of energies of responses. At a price per MAC each layer
    decides for itself (Everett 1963, doi 10.1287/opre.11.3.399); the price is found by bisection. What is left then is
    spent on one layer after the other, where it buys most. If even the cheapest options cost more than ``limit``, they
    are returned.
    """
    cheapest = {name: own[0] for name, own in layers.items()}
    steepest = max((_slope(own[0], other) for own in layers.values() for other in own[1:]), default=0.0)
    chosen, low, high = cheapest, 0.0, 2 * steepest
    for _ in range(HALVINGS):
        price = (low + high) / 2
        found = {name: max(own, key=lambda o: o.worth - price * o.macs) for name, own in layers.items()}
        if total_macs(found) <= limit:
            chosen, high = found, price
        else:
            low = price
    while affordable := [
        (_slope(chosen[name], option), name, option)
        for name, own in layers.items()
        for option in own
        if 0 < option.macs - chosen[name].macs <= limit - total_macs(chosen) and option.worth > chosen[name].worth
    ]:
        _, name, option = max(affordable, key=lambda step: step[0])
        chosen = {**chosen, name: option}
    return chosen


def total_macs(chosen: Mapping[str, Option]) -> int:
    """MACs of these layers together."""
    return sum(option.macs for option in chosen.values())


def _slope(one: Option, other: Option) -> float:
    return (other.worth - one.worth) / (other.macs - one.macs)
