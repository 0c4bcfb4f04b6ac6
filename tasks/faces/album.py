"""The pictures of a split as they lie in the cache, and where they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench import SPLITS, Split
from tasks._workers import in_threads

Pictures = NDArray[np.uint8]
Indices = NDArray[np.int64]


class Source(Protocol):
    """People with pictures of them, in three splits."""

    def identity(self) -> dict[str, Any]:
        """What names the pictures, JSON-serialisable."""

    def people(self, split: Split) -> Sequence[tuple[str, int]]:
        """The name of everybody in a split, and how many pictures there are."""

    def pictures(self, split: Split, number: int) -> Pictures:
        """Those of a person, (n, 3, pixels, pixels)."""

    def pairs(self, split: Split) -> Indices | None:
        """Pictures to compare, numbered through the split, (m, 2); None where no list says which."""


@dataclass(frozen=True)
class Album:
    """A split.

    Attributes:
        pictures: (n, 3, pixels, pixels), of one person after the other.
        people: (n,) whose each is, ascending from 0.
        names: of the people.
        listed: pairs of pictures to compare, (m, 2); None where no list says which.
    """

    pictures: Pictures
    people: Indices
    names: tuple[str, ...]
    listed: Indices | None

    @classmethod
    def load(cls, folder: Path, split: Split) -> "Album":
        """A split from where ``write_albums`` left it; the pictures stay on disk."""
        listed = folder / split / "pairs.npy"
        return cls(
            np.load(folder / split / "pictures.npy", mmap_mode="r"),
            np.load(folder / split / "people.npy"),
            tuple((folder / split / "names.txt").read_text(encoding="utf-8").splitlines()),
            np.load(listed) if listed.exists() else None,
        )


def write_albums(folder: Path, source: Source, pixels: int, workers: int, progress: Callable[[float], None]) -> None:
    """Write the pictures of all splits, which do not depend on ``workers``; called with the fraction done."""
    for position, split in enumerate(SPLITS):
        people = source.people(split)
        counts = [count for _, count in people]
        (folder / split).mkdir()
        np.save(folder / split / "people.npy", np.arange(len(people)).repeat(counts))
        (folder / split / "names.txt").write_text("".join(f"{name}\n" for name, _ in people), encoding="utf-8")
        if (listed := source.pairs(split)) is not None:
            np.save(folder / split / "pairs.npy", listed)
        shape, start = (sum(counts), 3, pixels, pixels), 0
        written = np.lib.format.open_memmap(folder / split / "pictures.npy", "w+", np.uint8, shape)
        for own in in_threads(partial(source.pictures, split), range(len(people)), workers):
            written[start : start + len(own)] = own
            start += len(own)
            progress((position + start / len(written)) / len(SPLITS))
        written.flush()
