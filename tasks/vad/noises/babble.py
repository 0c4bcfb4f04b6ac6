"""Many voices at once, in a room."""

from collections.abc import Sequence

import numpy as np

from tasks._speech import Signal
from tasks._speech.channel import filtered, room_response, unit_level


def babble(rng: np.random.Generator, count: int, recordings: Sequence[Signal]) -> Signal:
    """``recordings`` at the same time, each from a place of its own on and 6 dB quieter to 3 dB louder: (count,)."""
    total = np.zeros(count)
    for recording in recordings:
        voice = np.resize(np.roll(recording, -int(rng.integers(len(recording)))), count)
        total += unit_level(voice) * (10 ** (rng.uniform(-6, 3) / 20))
    return unit_level(filtered(total, room_response(rng), delay=0))
