"""What stands between a recording and a network: how a task's models are used outside the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

if TYPE_CHECKING:  # a report needs no PyTorch
    from torch import nn


@dataclass(frozen=True)
class SoundScoring:
    """How the models of a task score recordings; both modules are exported to ONNX around the network.

    Attributes:
        sample_rate: samples per second of what ``features`` takes.
        features: samples, float64 in [-1, 1], (samples,) -> the input of the network, a batch of one, exactly as in
            training. Sizes that follow from the number of samples must be computed by tensor operators.
        scores: the output of the network for that batch -> one or more scores, (n,).
        meaning: what a score says, such as ``log odds of speech``.
        shortest: samples of the shortest recording that can be scored.
        step: samples from one score to the next; 0 where a recording has one score.
    """

    sample_rate: int
    features: nn.Module
    scores: nn.Module
    meaning: str
    shortest: int
    step: int = 0


class Sound(NamedTuple):
    """What a file holds.

    Attributes:
        samples: (samples,), float64 in [-1, 1], channels averaged.
        rate: samples per second in the file, before it was resampled.
        channels: of the file.
    """

    samples: NDArray[np.float64]
    rate: int
    channels: int


def read_sound(path: Path, sample_rate: int) -> Sound:
    """The samples of one sound file, any number of channels; at another rate than ``sample_rate`` it is resampled.

    Raises:
        BenchError: the file is no sound file, damaged or empty.
    """
    import soundfile
    from scipy import signal

    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BenchError(
            f"Audio file {path} cannot be read: expected {path.suffix[1:].upper() or 'WAV'}. "
            f"It is empty or damaged ({error})"
        ) from error
    if not len(samples):
        raise BenchError(f"Audio file {path} has no samples")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if rate != sample_rate:
        common = gcd(rate, sample_rate)
        mono = signal.resample_poly(mono, sample_rate // common, rate // common)
    return Sound(np.ascontiguousarray(mono), rate, samples.shape[1])
