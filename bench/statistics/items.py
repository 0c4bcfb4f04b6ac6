"""The evaluation items that a score is made of, and how it is made again from other items."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Items:
    """Items that all runs were scored on, so that they can be drawn again.

    An item is what can be taken as independent of the next one: the utterance, or the speaker where the utterances of
    one speaker are alike.

    Attributes:
        classes: the class of each item, shape (m,); items are drawn within their class, so that a resample has as
            many of each as the evaluation set. All equal where there are no classes.
        rescored: maps the numbers of drawn items, shape (m,), with repetitions, to the scores of all runs on these
            items, shape (seeds, points), in the unit of the metric. What it gives for failed runs is not used.
    """

    classes: NDArray[np.int64]
    rescored: Callable[[NDArray[np.intp]], NDArray[np.float64]]

    def __post_init__(self) -> None:
        if not len(self.classes):
            raise ValueError("there are no items")
        if min(len(members) for members in self.strata) < 2:
            raise ValueError("every class needs at least two items to be drawn from")

    @property
    def strata(self) -> list[NDArray[np.intp]]:
        """The numbers of the items of each class."""
        return [np.flatnonzero(self.classes == which) for which in np.unique(self.classes)]

    @classmethod
    def of_means(cls, values: ArrayLike) -> "Items":
        """Items whose mean is the score (accuracy, mean error).

        Args:
            values: what each run gets for each item, in the unit of the metric, shape (seeds, points, m).

        Raises:
            ValueError: another number of axes, or fewer than two items.
        """
        table = np.asarray(values, dtype=np.float64)
        if table.ndim != 3:
            raise ValueError(f"item values have shape {table.shape}, expected (seeds, points, items)")
        usable: NDArray[np.bool_] = np.asarray(np.isfinite(table).all(axis=-1))
        filled = np.where(usable[..., None], table, 0.0)
        worst = table.sum(axis=-1)

        def rescored(drawn: NDArray[np.intp]) -> NDArray[np.float64]:
            weights = np.bincount(drawn, minlength=table.shape[-1]) / len(drawn)
            return np.where(usable, filled @ weights, worst)

        return cls(np.zeros(table.shape[-1], dtype=np.int64), rescored)
