"""From log odds of voxels to counts, from counts to scores: voxels by threshold, clefts by connected components."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from bench import ItemScores

LEVELS, FURTHEST = 256, 10.0  # that log odds are counted at, from the lowest to the highest
BLOCK = 48  # rows and columns of a block, which is drawn as one
SMALLEST = 12  # voxels of a detection
TOUCHING = np.ones((3, 3, 3), bool)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class VoxelScores(ItemScores):
    """Voxels counted by block, level and label, and the counts of clefts at a threshold that these did not choose.

    Attributes:
        threshold: the level from which on a voxel is said to be of a cleft.
        clefts: how many were found, detected and labelled.
    """

    threshold: int = 0
    clefts: tuple[int, int, int] = (0, 0, 0)


def levels_of(log_odds: Floats) -> NDArray[np.uint8]:
    """Levels 0 to 255 of log odds."""
    return np.clip(np.rint((log_odds / FURTHEST + 1) / 2 * (LEVELS - 1)), 0, LEVELS - 1).astype(np.uint8)


def counted(volumes: Iterable[tuple[NDArray[np.uint8], Bools]]) -> NDArray[np.int64]:
    """How many voxels there are of each block, level and label, (blocks, 256, 2).

    Args:
        volumes: levels and labels, (D, H, W). A block has all sections.
    """
    tables = []
    for levels, clefts in volumes:
        rows, columns = (np.arange(n) * max(1, round(n / BLOCK)) // n for n in levels.shape[1:])
        blocks = (rows[:, None] * (columns[-1] + 1) + columns).astype(np.int32)
        cells = (blocks * LEVELS + levels) * 2 + clefts
        tables.append(np.bincount(cells.ravel(), minlength=(blocks[-1, -1] + 1) * LEVELS * 2).reshape(-1, LEVELS, 2))
    return np.concatenate(tables)


def items_of(counts: NDArray[np.int64], threshold: int, clefts: tuple[int, int, int]) -> VoxelScores:
    """One item for every cell of the table, whether or not there is a voxel in it: they are the same for all models."""
    units, levels, labels = (own.ravel() for own in np.indices(counts.shape))
    scores = (2 * levels / (LEVELS - 1) - 1) * FURTHEST
    return VoxelScores(scores, labels, units, counts.ravel(), "average_precision", threshold, clefts)


def f1_by_level(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of the voxels in percent, for each level as the threshold, (256,)."""
    others, hits = counts.sum(0)[::-1].cumsum(0)[::-1].T
    return np.asarray(200 * hits / (hits + others + hits[0]))


def matched(said: Bools, clefts: Bools) -> tuple[int, int, int]:
    """How many clefts are found, detected and labelled in a volume.

    Both are connected components, detections of at least 12 voxels. A detection finds a cleft that it overlaps, each
    at most one, and each cleft counts once: as many pairs as there can be.
    """
    (found, detections), (true, labelled) = (ndimage.label(own, TOUCHING) for own in (said, clefts))
    large = np.bincount(found.ravel(), minlength=detections + 1) >= SMALLEST
    large[0] = False
    both = large[found] & clefts
    pairs = np.unique(np.stack([found[both], true[both]]), axis=1)
    touching = csr_array((np.ones(pairs.shape[1]), pairs), shape=(detections + 1, labelled + 1))
    return int((maximum_bipartite_matching(touching) >= 0).sum()), int(large.sum()), labelled


def breakdowns(items: VoxelScores, column: str) -> dict[str, float]:
    """F1 of voxels and of clefts in percent at the threshold, under names that begin with ``column``."""
    counts = np.asarray(items.weights).reshape(-1, LEVELS, 2)
    found, detected, labelled = items.clefts
    return {
        f"{column}/F1 of voxels": float(f1_by_level(counts)[items.threshold]),
        f"{column}/F1 of clefts": 200 * found / max(detected + labelled, 1),
    }
