"""One choice for each layer of a network under one budget: a knapsack problem, which HiGHS solves."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

ROUNDING = 1e-5  # HiGHS may overstep a limit by a tenth of this share of it


def best_choices(
    costs: Sequence[Sequence[int]], losses: Sequence[Sequence[float]], limit: float, least: float = 0.0
) -> list[int]:
    """The option of each layer for which the sum of losses is smallest, and that of costs within limits.

    Args:
        costs: of the options of each layer, not negative.
        losses: likewise.
        limit: of all costs together, positive; none is overstepped.
        least: they cost at least this, if any choice does.

    Returns:
        Places of the options; of the cheapest if nothing is within ``limit``.
    """
    owners = np.repeat(np.arange(len(costs)), [len(own) for own in costs])
    one_each = LinearConstraint(owners == np.arange(len(costs))[:, None], 1, 1)
    shares, lost = np.concatenate(costs) / limit, np.concatenate(losses).astype(float)
    whole = np.ones(len(lost), int)
    for low, high in itertools.product((least / limit, 0.0) if least else (0.0,), (1.0, 1.0 - ROUNDING)):
        within = LinearConstraint(shares[None], low, high)
        taken = milp(lost, constraints=[one_each, within], integrality=whole, bounds=Bounds(0, 1)).x
        places = [] if taken is None else [int(np.argmax(taken[owners == layer])) for layer in range(len(costs))]
        if places and sum(own[place] for own, place in zip(costs, places, strict=True)) <= limit:
            return places
    return [own.index(min(own)) for own in costs]
