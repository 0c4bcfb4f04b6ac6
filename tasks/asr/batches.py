"""Batches of features and transcripts."""

from collections.abc import Iterator

import numpy as np
import torch

from bench import Batch
from tasks._epochs import shuffled_epochs
from tasks._speech.filterbank import Normaliser
from tasks.asr.features import FeatureSplit

SCORED_AT_ONCE = 6400  # frames: attention takes memory for the square of a recording's


def training_batches(features: FeatureSplit, normalise: Normaliser, batch_size: int, seed: int) -> Iterator[Batch]:
    """Endless epochs of shuffled recordings: inputs (B, bands, T), targets (B, longest) padded with -1."""
    rng = np.random.default_rng(seed)
    for chosen in shuffled_epochs(rng, len(features), batch_size):
        yield Batch(normalise(features.frames[chosen]), torch.from_numpy(features.targets[chosen]))


def scored_batches(features: FeatureSplit, normalise: Normaliser) -> Iterator[Batch]:
    """One pass in order."""
    at_once = max(1, SCORED_AT_ONCE // features.frames.shape[1])
    for start in range(0, len(features), at_once):
        chosen = slice(start, start + at_once)
        yield Batch(normalise(features.frames[chosen]), torch.from_numpy(features.targets[chosen]))
