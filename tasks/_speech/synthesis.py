"""One utterance of one speaker, dry: no room, no noise, no microphone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from tasks._speech import FRAME, SAMPLE_RATE, Bools, Signal
from tasks._speech.articulation import articulate
from tasks._speech.phones import Pauses, Segment, draw_segments
from tasks._speech.source import excite
from tasks._speech.speaker import Speaker
from tasks._speech.tract import hiss, shape

LEVEL = 0.05  # root mean square of an utterance, of a full scale of 1


@dataclass(frozen=True)
class Speech:
    """A waveform and what is known about it because it was made."""

    samples: Signal  # (frames * 80,)
    f0_hz: NDArray[np.float64]  # (frames,), 0 where unvoiced
    active: Bools  # (frames,), inside a phone: stop closures count, pauses do not


def synthesise(rng: np.random.Generator, speaker: Speaker, seconds: float, pauses: Pauses | None = None) -> Speech:
    """Random words by ``speaker`` that last ``seconds``, rounded down to whole 5 ms frames."""
    frames = int(seconds * SAMPLE_RATE / FRAME)
    return speak(rng, speaker, draw_segments(rng, frames, speaker.rate, pauses or Pauses()), frames)


def speak(rng: np.random.Generator, speaker: Speaker, segments: list[Segment], frames: int) -> Speech:
    """These phones and pauses by ``speaker``, cut off after ``frames`` frames of 5 ms."""
    tracks = articulate(rng, speaker, segments, frames)
    voice, noise = excite(rng, tracks, speaker)
    samples = shape(voice, tracks, speaker) + 2.2 * hiss(noise, tracks)
    samples = signal.lfilter([0.99, -0.99], [1, -0.99], samples)  # nothing radiates at 0 Hz
    samples *= LEVEL / (np.sqrt(np.mean(samples**2)) + 1e-9)
    f0 = np.where(tracks.voicing > 0.12, tracks.f0_hz, 0)
    return Speech(samples, f0, tracks.active)
