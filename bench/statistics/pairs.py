"""The seeds of two methods, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics.estimate import Sign


@dataclass(frozen=True)
class Sides:
    """Errors (small is good) of two methods.

    Attributes:
        first: shape (n,).
        second: shape (m,); where ``paired``, m = n and both are in the order of the seeds.
        paired: whether the entries belong together.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    paired: bool


def side_by_side(first: Mapping[int, float], second: Mapping[int, float], sign: Sign, paired: bool | None) -> Sides:
    """The runs to compare: those of the seeds that both have, or all of both.

    Args:
        first: score by seed.
        second: likewise.
        sign: 1 where small scores are good, -1 where large ones are.
        paired: by seed or not; None: by seed if they share two or more.

    Raises:
        ValueError: a score is NaN.
    """
    if any(np.isnan(score) for scores in (first, second) for score in scores.values()):
        raise ValueError("a score is NaN: pass failures as the worst score")
    shared = sorted(first.keys() & second.keys())
    by_seed = len(shared) >= 2 if paired is None else paired

    def errors(scores: Mapping[int, float]) -> NDArray[np.float64]:
        return np.array([sign * scores[seed] for seed in (shared if by_seed else sorted(scores))], dtype=np.float64)

    return Sides(errors(first), errors(second), by_seed)
