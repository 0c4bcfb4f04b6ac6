"""Pitch-synchronous overlap-add: periods of genuine speech, closer together or farther apart (A13)."""

import numpy as np

from tasks._speech import SAMPLE_RATE, Floats, Signal
from tasks._speech.frames import hann, on_samples
from tasks.antispoof.attacks.excitation import estimated_pitch


def repitched(x: Signal, f0_hz: Floats, rng: np.random.Generator) -> Signal:
    """Two periods around each pitch mark, windowed, set down at .65 to .85 or 1.18 to 1.5 times the pitch."""
    factor = rng.uniform(0.65, 0.85) if rng.random() < 0.5 else rng.uniform(1.18, 1.5)
    pitch, voicing = estimated_pitch(rng, f0_hz, error=0.002)
    per_sample = on_samples(pitch, len(x)) / SAMPLE_RATE
    marks, targets = _marks(per_sample), _marks(per_sample * factor)
    if not len(marks):
        return x.copy()
    sources = marks[np.clip(np.searchsorted(marks, targets), 0, len(marks) - 1)]
    y = np.zeros(len(x))
    weight = np.full(len(x), 1e-3)
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        period = int(1 / per_sample[source])
        if min(source, target) < period or max(source, target) + period > len(x):
            continue
        window = hann(2 * period)
        y[target - period : target + period] += x[source - period : source + period] * window
        weight[target - period : target + period] += window
    voiced = on_samples(voicing, len(x))
    return np.asarray(y / np.maximum(weight, 0.3) * voiced + x * (1 - voiced))


def _marks(per_sample: Floats) -> np.ndarray:
    """Samples at which a phase that advances by ``per_sample`` completes a turn."""
    return np.flatnonzero(np.diff(np.floor(np.cumsum(per_sample))) > 0)
