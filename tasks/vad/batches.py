"""Batches of features: random crops to train on, whole mixtures in order to score."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from bench import Batch
from tasks._epochs import shuffled_epochs
from tasks._speech.filterbank import Normaliser
from tasks.vad.features import FeatureSplit

Floats = NDArray[np.float32]

SCORED_AT_ONCE = 3_200  # frames: attention takes memory for the square of a mixture's, and caches are small


def training_batches(
    features: FeatureSplit, normalise: Normaliser, batch_size: int, crop_frames: int, seed: int
) -> Iterator[Batch]:
    """Endless epochs of shuffled crops: inputs (batch_size, bands, crop_frames), targets (batch_size, crop_frames)."""
    rng = np.random.default_rng(seed)
    latest = features.frames.shape[1] - crop_frames
    for chosen in shuffled_epochs(rng, len(features), batch_size):
        spans = [
            (int(i), slice(at, at + crop_frames))
            for i, at in zip(chosen, rng.integers(latest + 1, size=len(chosen)), strict=True)
        ]
        crops = np.stack([features.frames[i, span] for i, span in spans])
        labels = np.stack([features.labels[i, span] for i, span in spans])
        yield Batch(normalise(crops), torch.from_numpy(labels.astype(np.float32)))


def scored_batches(features: FeatureSplit, normalise: Normaliser) -> Iterator[Batch]:
    """One pass in order over whole mixtures."""
    at_once = max(1, SCORED_AT_ONCE // features.frames.shape[1])
    for start in range(0, len(features), at_once):
        chosen = slice(start, start + at_once)
        labels = torch.from_numpy(features.labels[chosen].astype(np.float32))
        yield Batch(normalise(features.frames[chosen]), labels)
