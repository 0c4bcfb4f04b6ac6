"""Several comparisons at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted so that the chance of any false alarm in the family stays below the level (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, and none may fall below the one before it.

    Args:
        p_values: each in [0, 1]; None where there was no test, which then does not count towards the family: that is
            decided by the number of seeds, not by what they scored.

    Returns:
        In the order of the arguments, at most 1; None where there was no test.

    Raises:
        ValueError: a p-value outside [0, 1].

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    tested = [index for index, p in enumerate(p_values) if p is not None]
    given = np.array([p for p in p_values if p is not None], dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("a p-value lies outside [0, 1]")
    order = np.argsort(given, kind="stable")
    steps = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    adjusted: list[float | None] = [None] * len(p_values)
    for place, step in zip(order, steps, strict=True):
        adjusted[tested[place]] = float(step)
    return adjusted
