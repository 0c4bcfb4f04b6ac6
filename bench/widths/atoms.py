"""Which entries of which axes live and die together: a union of sets that grows while a model is followed."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

#: no channel at all: time, batch, constants
NONE = 0
#: must stay as it is: inputs and outputs of the model, and whatever is mixed in a way that no removal survives
PINNED = 1


class Atoms:
    """Numbered entries of axes, joined into sets. Entries 0 (no channel) and 1 (pinned) are there from the start."""

    def __init__(self) -> None:
        self._parent = np.arange(2, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> Labels:
        """Numbers for ``count`` entries of their own, shape (count,)."""
        start = len(self._parent)
        fresh = np.arange(start, start + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, fresh])
        return fresh

    def roots(self, entries: Labels) -> Labels:
        """The representative of the set of each entry; pinned sets are represented by ``PINNED``."""
        found = self._parent[entries]
        while not np.array_equal(further := self._parent[found], found):
            found = further
        return found

    def join(self, left: Labels, right: Labels) -> None:
        """Join the sets of entries pairwise; where one side is no channel, nothing happens. Same shapes."""
        pairs = np.stack([self.roots(left.ravel()), self.roots(right.ravel())])
        pairs = pairs[:, (pairs[0] != pairs[1]) & (pairs != NONE).all(0)]
        if not pairs.size:
            return
        for one, other in np.unique(np.sort(pairs, axis=0), axis=1).T:
            low, high = sorted((self._root(one), self._root(other)))
            self._parent[high] = low  # the smaller number wins, so that pinned sets stay so

    def join_all(self, entries: Labels) -> None:
        """Join all these entries into one set."""
        channels = entries[entries != NONE]
        if len(channels):
            self.join(np.full(len(channels), channels[0]), channels)

    def pin(self, entries: Labels) -> None:
        """These entries must stay."""
        self.join(entries, np.full(entries.shape, PINNED))

    def _root(self, entry: int) -> int:
        while self._parent[entry] != entry:
            entry = int(self._parent[entry])
        return int(entry)
