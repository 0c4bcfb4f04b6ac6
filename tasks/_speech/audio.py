"""Sound files as they lie on disk, as samples at the rate of the project."""

from pathlib import Path

import numpy as np
import soundfile

from bench import BenchError, Sound, read_sound
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.channel import FULL_SCALE


def read_recording(path: Path, listed_in: str) -> Sound:
    """One sound file of a corpus; at another rate than 16 kHz its samples are resampled.

    Args:
        path: FLAC or WAV, any rate, any number of channels.
        listed_in: what says that the file exists, for the messages: ``the protocol``.

    Raises:
        BenchError: the file is missing, empty or damaged.
    """
    if not path.is_file():
        raise BenchError(f"Audio file {path} is missing, although {listed_in} lists it: unpack the corpus again.")
    try:
        return read_sound(path, SAMPLE_RATE)
    except BenchError as error:
        raise BenchError(f"{error}: unpack it again, or remove its line from {listed_in}.") from error


def seconds_of(path: Path, listed_in: str) -> float:
    """How long a sound file is, from its header; errors as of :func:`read_recording`."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError):
        return len(read_recording(path, listed_in).samples) / SAMPLE_RATE  # which says what is wrong
    return float(info.frames / info.samplerate)


def write_audio(path: Path, samples: Signal) -> None:
    """Write samples in [-1, 1) at 16 kHz with 16 bits."""
    levels = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    soundfile.write(path, levels, SAMPLE_RATE, subtype="PCM_16")
