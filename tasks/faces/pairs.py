"""Verification: are two pictures of one person? And identification: whose picture of a gallery is most alike?"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

COMPARED_AT_ONCE = 10_000  # pairs: 80 MB with 512 numbers each

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures that are compared.

    Attributes:
        first: pictures, (m,).
        second: those that they are compared with, (m,).
        same: 1 where both are of one person, (m,).
        units: (m,) integers: no person is in pairs of two units, so that units are independent of each other.
    """

    first: Indices
    second: Indices
    same: Indices
    units: Indices

    @classmethod
    def of(cls, people: Indices, pairs: Indices) -> "Pairs":
        """Those of ``pairs``, (m, 2), of pictures whose people are (n,); people who meet in a pair share their unit."""
        first, second = pairs.T
        one, other = people[first], people[second]
        count = int(people.max()) + 1
        met = coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
        return cls(first, second, (one == other).astype(np.int64), connected_components(met, directed=False)[1][one])

    @classmethod
    def within_groups(cls, people: Indices, group: int) -> "Pairs":
        """All pairs within groups of so many people each, the last one of up to twice as many.

        Args:
            people: (n,) whose each picture is, ascending.
            group: people who are compared with each other: of a thousand people, all pairs would make every person
                depend on every other, and nothing could be drawn again.
        """
        everybody = np.unique(people)
        starts = everybody[::group][: max(1, len(everybody) // group)]
        bounds = [*np.searchsorted(people, starts), len(people)]
        found = [low + np.stack(np.triu_indices(high - low, 1), 1) for low, high in pairwise(bounds)]
        return cls.of(people, np.concatenate(found))

    def likeness(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """The cosine of each pair, (m,), of embeddings (n, size)."""
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
        directions = embeddings / np.maximum(lengths, 1e-12)
        parts = (slice(start, start + COMPARED_AT_ONCE) for start in range(0, len(self.first), COMPARED_AT_ONCE))
        return np.concatenate([(directions[self.first[own]] * directions[self.second[own]]).sum(1) for own in parts])

    def identified(self, likeness: NDArray[np.floating], people: Indices) -> float:
        """Rank-1 identification in percent: the first picture of everybody is the gallery, all others ask.

        Whoever asks is right if the own picture in the gallery is more alike than those of all others of the group.

        Args:
            likeness: of each pair, (m,).
            people: (n,) whose each picture is, ascending.
        """
        enrolled = np.diff(people, prepend=-1) > 0
        asks = enrolled[self.first] != enrolled[self.second]
        probe, found, same = (
            np.where(enrolled[self.first], self.second, self.first)[asks],
            likeness[asks],
            self.same[asks],
        )
        best = np.full((2, len(people)), -np.inf)
        np.maximum.at(best, (same, probe), found)
        asked = np.isfinite(best[1])
        return float(100 * (best[1] > best[0])[asked].mean())
