"""Sound files as they lie on disk, as samples at the rate of the project."""

from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy import signal

from bench import BenchError
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.channel import FULL_SCALE


class Recording(NamedTuple):
    """What a file holds.

    Attributes:
        samples: (samples,) at 16 kHz in [-1, 1], channels averaged.
        rate: samples per second in the file, before it was resampled.
    """

    samples: Signal
    rate: int


def read_recording(path: Path, listed_in: str) -> Recording:
    """The samples of one sound file; at another rate than 16 kHz they are resampled.

    Args:
        path: FLAC or WAV, any rate, any number of channels.
        listed_in: what says that the file exists, for the messages: ``the protocol``.

    Raises:
        BenchError: the file is missing, empty or damaged.
    """
    if not path.is_file():
        raise BenchError(f"Audio file {path} is missing, although {listed_in} lists it: unpack the corpus again.")
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise BenchError(
            f"Audio file {path} cannot be read: expected {path.suffix[1:].upper()}. "
            f"It is empty or damaged ({error}); unpack it again."
        ) from error
    if not len(samples):
        raise BenchError(f"Audio file {path} has no samples: remove its line from {listed_in}, or unpack it again.")
    mono: Signal = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        common = gcd(rate, SAMPLE_RATE)
        mono = signal.resample_poly(mono, SAMPLE_RATE // common, rate // common)
    return Recording(np.ascontiguousarray(mono), rate)


def write_audio(path: Path, samples: Signal) -> None:
    """Write samples in [-1, 1) at 16 kHz with 16 bits."""
    levels = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    soundfile.write(path, levels, SAMPLE_RATE, subtype="PCM_16")
