"""Ranks of the layers of a whole network under one budget."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

ROUNDING = 1e-5  # HiGHS may overstep a limit by a tenth of this share of it


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

    Zhang et al. (arXiv 1505.06798) maximise this product, of energies of responses. It is a knapsack problem with a
    choice for each layer, which HiGHS solves. If even the cheapest options cost more than ``limit``, they are returned.
    """
    cheapest = {name: own[0] for name, own in layers.items()}
    if total_macs(cheapest) >= limit:
        return cheapest
    choices = [(name, option) for name, own in layers.items() for option in own]
    one_each = LinearConstraint([[float(name == owner) for owner, _ in choices] for name in layers], 1, 1)
    shares, losses = [option.macs / limit for _, option in choices], [-option.worth for _, option in choices]
    for most in (1.0, 1.0 - ROUNDING):
        within = LinearConstraint([shares], ub=most)
        taken = milp(
            losses, constraints=[one_each, within], integrality=np.ones(len(choices), int), bounds=Bounds(0, 1)
        ).x
        found = {} if taken is None else {n: o for (n, o), share in zip(choices, taken, strict=True) if share > 0.5}
        if found and total_macs(found) <= limit:
            return found
    return cheapest


def total_macs(chosen: Mapping[str, Option]) -> int:
    """MACs of these layers together."""
    return sum(option.macs for option in chosen.values())
