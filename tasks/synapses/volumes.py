"""Prepared volumes: grey values and clefts of every split, made from a generator's seed or from CREMI's files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import SPLITS, BenchError, Split
from tasks._workers import in_threads
from tasks.synapses.tissue import GENERATOR_VERSION, Shape, make_volume

MOST_VOXELS = 10**9


@dataclass(frozen=True)
class Volume:
    """Grey values, and which voxels are of a synaptic cleft, both (D, H, W)."""

    grey: NDArray[np.uint8]
    clefts: NDArray[np.bool_]


@dataclass(frozen=True)
class Tissue:
    """The embedded volumes.

    Attributes:
        seed: of everything.
        shape: of each volume, in sections, rows and columns.
        counts: volumes in train, dev, eval.
        least: the fewest voxels that a volume must have along each axis.
    """

    seed: int
    shape: Shape
    counts: tuple[int, int, int]
    least: Shape

    def check(self) -> None:
        """There are some of each split, and not too many; the seed is one."""
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"corpus_seed is {self.seed}: expected a whole number from 0 to 4294967295")
        if len(self.counts) != len(SPLITS) or min(self.counts) < 1:
            raise BenchError(f"volumes is {self.counts}: expected how many in train, dev and eval")
        if any(own < least for own, least in zip(self.shape, self.least, strict=True)):
            raise BenchError(f"shape is {self.shape}: expected at least the crop, {self.least}")
        if (voxels := int(np.prod(self.shape)) * sum(self.counts)) > MOST_VOXELS:
            raise BenchError(f"{sum(self.counts)} volumes have {voxels} voxels: expected at most {MOST_VOXELS}")

    def identity(self) -> dict[str, Any]:
        """What names them."""
        made_from = {"seed": self.seed, "shape": self.shape, "counts": self.counts}
        return {"embedded": made_from, "generator": GENERATOR_VERSION}

    def write(self, folder: Path, workers: int, progress: Callable[[float], None]) -> None:
        """All volumes of all splits; what is in them does not depend on ``workers``."""
        jobs = [(split, number) for split, count in zip(SPLITS, self.counts, strict=True) for number in range(count)]
        made = in_threads(lambda job: self._made(*job), jobs, workers)
        for done, ((split, number), volume) in enumerate(zip(jobs, made, strict=True), start=1):
            save(folder, split, number, volume)
            progress(done / len(jobs))

    def parts(self, split: Split) -> list[str]:
        """The names of the volumes of a split, in no other."""
        return [f"{split} {number}" for number in range(self.counts[SPLITS.index(split)])]

    def _made(self, split: Split, number: int) -> Volume:
        return Volume(*make_volume(np.random.default_rng([self.seed, SPLITS.index(split), number]), self.shape))


def save(folder: Path, split: Split, number: int, volume: Volume) -> None:
    """Write one volume of a split into a folder of prepared ones."""
    for name, values in (("grey", volume.grey), ("clefts", volume.clefts)):
        np.save(folder / f"{split}_{number:04}_{name}.npy", values, allow_pickle=False)


def load(folder: Path, split: Split) -> list[Volume]:
    """The volumes of a split, which stay on disk until they are read."""
    read = partial(np.load, mmap_mode="r", allow_pickle=False)
    return [
        Volume(read(path), read(path.with_name(path.name.replace("grey", "clefts"))))
        for path in sorted(folder.glob(f"{split}_*_grey.npy"))
    ]
