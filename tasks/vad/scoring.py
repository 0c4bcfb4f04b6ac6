"""From the outputs of a model to scores of frames, and from these to error rates."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench import ItemScores


def speech_logits(outputs: Tensor) -> Tensor:
    """Logits of speech, (B, T), from (B, T, 1) or from (B, T, 2): the second of two outputs less the first."""
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs[..., 1] - outputs[..., 0]


def trimmed(labels: Tensor, frames: int) -> Tensor:
    """The middle ``frames`` of (B, T) labels: convolutions without padding lose as many frames at either end."""
    start = (labels.shape[1] - frames) // 2
    return labels[:, start : start + frames]


def error_rates(items: ItemScores, ranges: NDArray[np.int64], names: list[str], column: str) -> dict[str, float]:
    """Equal error rates in percent over the frames of each range that has both classes.

    Args:
        items: frames: high scores where somebody seems to speak, true labels where somebody speaks.
        ranges: (n,), the number of the range of each frame.
        names: of the ranges.
        column: the first part of the names of the rates.
    """
    results = {}
    for number, name in enumerate(names):
        chosen = ranges == number
        part = ItemScores(items.scores[chosen], np.asarray(items.labels)[chosen], items.units[chosen])
        if len(np.unique(np.asarray(part.labels))) == 2:
            results[f"{column}/{name}"] = part.headline
    return results
