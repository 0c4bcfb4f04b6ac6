"""When somebody speaks in a clean recording: as an alignment says, or by its energy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening

from bench import BenchError
from tasks._speech import SAMPLE_RATE, Bools, Signal

HOP = 160  # samples (10 ms): energies are compared at this rate
ACTIVE_DB = 30.0  # speech is what lies less than this below the loud frames, ...
ABOVE_FLOOR_DB = 8.0  # ... and more than this above the quiet ones, ...
SURE_DB = 15.0  # ... but at least whatever lies less than this below the loud ones
BRIDGED_FRAMES = 12  # closures of stops are shorter pauses than this
SHORTEST_FRAMES = 4  # clicks are shorter than this

Intervals = NDArray[np.float64]  # (n, 2), start and end in seconds


def read_intervals(path: Path) -> Intervals:
    """Stretches of speech from a text file, one line ``start end`` in seconds for each; (n, 2).

    Raises:
        BenchError: a line does not have two numbers, or the end is not after the start.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            start, end = map(float, line.split())
            if not 0 <= start < end < np.inf:
                raise ValueError
        except ValueError:
            raise BenchError(
                f"{path}, line {number}: {line!r}; expected two numbers, the start and end of speech in seconds."
            ) from None
        rows.append((start, end))
    if not rows:
        raise BenchError(f"{path} is empty: expected at least one stretch of speech, as a line 'start end' in seconds.")
    return np.array(rows)


def write_intervals(path: Path, active: Bools, frame: int) -> None:
    """Write where ``active`` is true, one value every ``frame`` samples, as :func:`read_intervals` reads it."""
    edges = np.flatnonzero(np.diff(np.r_[False, active, False].astype(np.int8))).reshape(-1, 2)
    seconds = edges * (frame / SAMPLE_RATE)
    path.write_text("".join(f"{start:.3f} {end:.3f}\n" for start, end in seconds), encoding="utf-8")


def mask_of(intervals: Intervals, count: int) -> Bools:
    """The intervals as one truth value a sample: (count,)."""
    mask = np.zeros(count, bool)
    for start, end in np.rint(intervals * SAMPLE_RATE).astype(int):
        mask[start:end] = True
    return mask


def active_by_energy(samples: Signal) -> Bools:
    """Where a clean recording is loud enough to be speech, one truth value a sample; short gaps are bridged.

    The threshold follows the recording: 30 dB below its loud frames (the 90th percentile), or 8 dB above its quiet
    ones (the 5th) if that is higher, but never less than 15 dB below the loud ones.
    """
    whole = len(samples) // HOP * HOP
    if not whole:
        return np.ones(len(samples), bool)
    level = 10 * np.log10(np.mean(samples[:whole].reshape(-1, HOP) ** 2, axis=1, dtype=np.float64) + 1e-12)
    quiet, loud = np.percentile(level, [5, 90])
    threshold = min(max(loud - ACTIVE_DB, quiet + ABOVE_FLOOR_DB), loud - SURE_DB)
    # the edges are padded with what they are, so that nothing is eroded there
    active = np.pad(level > threshold, BRIDGED_FRAMES, mode="edge")
    active = binary_closing(active, np.ones(BRIDGED_FRAMES, bool))
    active = binary_opening(active, np.ones(SHORTEST_FRAMES, bool))[BRIDGED_FRAMES:-BRIDGED_FRAMES]
    mask = np.repeat(active, HOP)
    return np.asarray(np.pad(mask, (0, len(samples) - whole), mode="edge"))
