"""Crops to train on, and whole volumes scored by overlapping tiles."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import Batch, Predict
from tasks.synapses.tissue import Shape
from tasks.synapses.volumes import Volume

AT_ONCE = 4  # tiles
Slices = tuple[slice, slice, slice]
Floats = NDArray[np.float32]


def inputs_of(grey: NDArray[np.uint8]) -> Tensor:
    """Grey values (B, D, H, W) as models get them, (B, 1, D, H, W), from -1 to 1."""
    return torch.from_numpy(grey.astype(np.float32) / 127.5 - 1).unsqueeze(1)


def training_batches(volumes: Sequence[Volume], batch_size: int, crop: Shape, seed: int) -> Iterator[Batch]:
    """Endless random crops, mirrored and turned at random; every other one has a voxel of a cleft in it.

    Inputs and targets are (batch_size, 1, D, H, W); targets are 1 in clefts.
    """
    rng = np.random.default_rng(seed)
    shares = np.array([volume.clefts.size for volume in volumes], dtype=np.float64)
    targets = [np.argwhere(volume.clefts) for volume in volumes]
    rich = [number for number, found in enumerate(targets) if len(found)]
    while True:
        crops = []
        for place in range(batch_size):
            number = int(rng.choice(len(volumes), p=shares / shares.sum()))
            latest = np.array(volumes[number].clefts.shape) - np.array(crop)
            start = rng.integers(latest + 1)
            if place % 2 and rich:
                number = rich[int(rng.integers(len(rich)))]
                latest = np.array(volumes[number].clefts.shape) - np.array(crop)
                start = np.clip(rng.choice(targets[number]) - rng.integers(np.array(crop)), 0, latest)
            at = _from(start, crop)
            crops.append(_turned(rng, volumes[number].grey[at], volumes[number].clefts[at]))
        grey, clefts = (np.stack(each) for each in zip(*crops, strict=True))
        yield Batch(inputs_of(grey), torch.from_numpy(clefts.astype(np.float32)).unsqueeze(1))


def _turned(rng: np.random.Generator, *crops: NDArray[Any]) -> list[NDArray[Any]]:
    """Mirrored along any axis; rows and columns exchanged if they are as many."""
    axes = [axis for axis in range(3) if rng.random() < 0.5]
    turned = [np.flip(crop, tuple(axes)) for crop in crops]
    square = crops[0].shape[1] == crops[0].shape[2]
    return [np.swapaxes(crop, 1, 2) for crop in turned] if square and rng.random() < 0.5 else turned


def scored_batches(volumes: Sequence[Volume], tile: Shape) -> Iterator[Batch]:
    """One pass in order over the tiles of all volumes, of inputs and targets (at most 4, 1, D, H, W)."""
    for volume in volumes:
        places = list(tiles_of(volume.clefts.shape, tile))
        for first in range(0, len(places), AT_ONCE):
            some = places[first : first + AT_ONCE]
            clefts = np.stack([volume.clefts[at] for at in some]).astype(np.float32)
            yield Batch(inputs_of(np.stack([volume.grey[at] for at in some])), torch.from_numpy(clefts).unsqueeze(1))


def tiles_of(shape: Shape, tile: Shape) -> Iterator[Slices]:
    """Where tiles lie that cover a volume: as few as overlap by a quarter of their length or more, evenly spread."""
    starts = []
    for length, own in zip(shape, tile, strict=True):
        count = 1 + -(-(length - own) // max(1, own - own // 4))
        starts.append(np.rint(np.linspace(0, length - own, count)).astype(int))
    return (_from(start, tile) for start in product(*starts))


def _from(start: Sequence[int] | NDArray[np.integer], shape: Shape) -> Slices:
    z, y, x = (slice(int(a), int(a) + n) for a, n in zip(start, shape, strict=True))
    return z, y, x


def log_odds(predict: Predict, volume: Volume, tile: Shape) -> Floats:
    """The log odds of a cleft at each voxel (D, H, W): the mean of all tiles, which weigh less towards their edges."""
    ramps = np.meshgrid(*(np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in tile), indexing="ij")
    weight = np.minimum.reduce([ramps[0] * 4, ramps[1], ramps[2]]).astype(np.float32)
    total, weights = np.zeros(volume.clefts.shape, np.float32), np.zeros(volume.clefts.shape, np.float32)
    places = list(tiles_of(volume.clefts.shape, tile))
    for first in range(0, len(places), AT_ONCE):
        some = places[first : first + AT_ONCE]
        outputs = predict(inputs_of(np.stack([volume.grey[at] for at in some])))[:, 0].numpy()
        for at, output in zip(some, outputs, strict=True):
            total[at] += weight * output
            weights[at] += weight
    return total / weights
