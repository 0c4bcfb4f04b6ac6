"""Batches of features: random crops to train on, whole utterances in order to score."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import Batch
from tasks._epochs import shuffled_epochs
from tasks._speech.filterbank import widened
from tasks.antispoof.features import FeatureSplit

Frames = NDArray[np.float32]

SCORED_AT_ONCE = 100
MASKED_BANDS = 8


def training_batches(
    features: FeatureSplit, scale: Frames, batch_size: int, crop_frames: int, seed: int
) -> Iterator[Batch]:
    """Endless epochs of shuffled crops, some neighbouring bands masked (Park et al. 2019, arXiv 1904.08779).

    Inputs (batch_size, bands, crop_frames), targets (batch_size,).
    """
    rng = np.random.default_rng(seed)
    for chosen in shuffled_epochs(rng, len(features), batch_size):
        crops = widened(np.stack([_crop(features.frames(int(i)), crop_frames, rng) for i in chosen]))
        crops -= np.stack([features.mean(int(i)) for i in chosen])[:, None]
        crops *= scale
        band = rng.integers(crops.shape[2] - MASKED_BANDS)
        crops[:, :, band : band + rng.integers(1, MASKED_BANDS + 1)] = 0
        yield Batch(_bands_first(crops), torch.from_numpy(features.labels[chosen]))


def scored_batches(features: FeatureSplit, scale: Frames, frames: int) -> Iterator[Batch]:
    """One pass in order over the first ``frames`` frames of every utterance; shorter ones are repeated."""
    for start in range(0, len(features), SCORED_AT_ONCE):
        chosen = np.arange(start, min(start + SCORED_AT_ONCE, len(features)))
        whole = np.stack([_repeated(_normalised(features, int(i), scale), frames)[:frames] for i in chosen])
        yield Batch(_bands_first(whole), torch.from_numpy(features.labels[chosen]))


def band_scale(train: FeatureSplit) -> Frames:
    """One over the standard deviation of each band over (at most 800 utterances of) the train split: (bands,)."""
    step = max(1, len(train) // 400)
    sample = np.concatenate([_centred(train, i) for i in range(0, len(train), step)])
    return np.asarray(1 / sample.std(0), np.float32)


def _centred(features: FeatureSplit, index: int) -> Frames:
    return widened(features.frames(index)) - features.mean(index)


def _normalised(features: FeatureSplit, index: int, scale: Frames) -> Frames:
    return _centred(features, index) * scale


def _repeated(frames: NDArray[Any], length: int) -> NDArray[Any]:
    return frames if len(frames) >= length else np.tile(frames, (-(-length // len(frames)), 1))


def _crop(frames: NDArray[Any], length: int, rng: np.random.Generator) -> NDArray[Any]:
    frames = _repeated(frames, length)
    start = rng.integers(len(frames) - length + 1)
    return frames[start : start + length]


def _bands_first(frames: Frames) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 2, 1)))
