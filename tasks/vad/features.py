"""Log-mel features and labels of all mixtures of a split: computed once, kept on disk, read through a memory map."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, Progress, cached_folder, folder_digest
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.filterbank import Half, log_energies, mel_weights
from tasks._workers import in_threads
from tasks.vad.mixing import MixSpec, Sources, mix

FEATURES_VERSION = 2  # raise it whenever the same sources and settings give other values
FRAMES, LABELS, RANGES = "frames.npy", "labels.npy", "snr_ranges.npy"
WINDOW = 400  # samples (25 ms)
HOP = 160  # samples (10 ms)
FLOOR = 1e-8  # added to the power before the logarithm


class FeatureSplit:
    """Features of one split, left on disk until asked for.

    Attributes:
        frames: (mixtures, T, bands), natural logarithm of band energies, float16, memory-mapped.
        labels: (mixtures, T), true where somebody speaks.
        ranges: (mixtures,), which range the signal-to-noise ratio lies in.
        digest: names what is in all of that.
    """

    def __init__(self, folder: Path) -> None:
        self.frames: Half = np.asarray(np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False))
        self.labels: NDArray[np.bool_] = np.load(folder / LABELS, allow_pickle=False)
        self.ranges: NDArray[np.int64] = np.load(folder / RANGES, allow_pickle=False)
        self.digest = folder_digest(folder)

    def __len__(self) -> int:
        return len(self.frames)


def prepare_features(
    sources: Callable[[], Sources],
    identity: dict[str, Any],
    spec: MixSpec,
    bands: int,
    cache: Path,
    *,
    workers: int = 1,
    progress: Progress = lambda fraction, note: None,
) -> FeatureSplit:
    """Features of a split, computed now unless they are in ``cache``.

    Args:
        sources: finds speech and noise; called only when there is something to compute.
        identity: what names them, JSON-serialisable.
        spec: what to mix.
        bands: mel bands between 0 Hz and 8 kHz.
        cache: folder of caches.
        workers: threads; reading, mixing and transforms spend their time outside Python's lock.
        progress: called with the fraction done and what is being done.
    """
    made_from = {"identity": identity, "mixing": asdict(spec), "bands": bands, "features_version": FEATURES_VERSION}

    def build(folder: Path) -> None:
        _write(folder, sources(), spec, bands, workers=workers, progress=progress)

    return FeatureSplit(cached_folder(cache, f"vad-{spec.split}", made_from, build))


def filterbank(bands: int) -> Callable[[Signal], Half]:
    """A function from samples at 16 kHz, (samples,), to features, (samples // 160, bands)."""
    return log_energies(mel_weights(bands), WINDOW, HOP, FLOOR)


def _write(folder: Path, sources: Sources, spec: MixSpec, bands: int, *, workers: int, progress: Progress) -> None:
    compute = filterbank(bands)

    def work(index: int) -> tuple[Half, NDArray[np.bool_], int]:
        mixture = mix(sources, spec, index)
        frames = compute(mixture.samples)
        if not np.isfinite(frames).all():
            raise BenchError(f"Mixture {index} of {spec.split} is not finite: its speech or noise file is damaged.")
        return frames, mixture.active[::HOP][: len(frames)], mixture.snr_range

    shape = (spec.mixtures, spec.samples // HOP)
    frames = np.lib.format.open_memmap(folder / FRAMES, "w+", np.float16, (*shape, bands))
    labels, ranges = np.zeros(shape, bool), np.zeros(spec.mixtures, np.int64)
    for index, result in enumerate(in_threads(work, range(spec.mixtures), workers)):
        frames[index], labels[index], ranges[index] = result
        if index % 8 == 7 or index + 1 == spec.mixtures:
            progress((index + 1) / spec.mixtures, _note(sources.rates))
    frames.flush()
    np.save(folder / LABELS, labels)
    np.save(folder / RANGES, ranges)


def _note(rates: set[int]) -> str:
    """What is being done, and that files at another rate are resampled."""
    others = sorted(rate for rate in set(rates) if rate != SAMPLE_RATE)
    resampled = f" (resampled from {' and '.join(f'{rate / 1000:g}' for rate in others)} to 16 kHz)" if others else ""
    return "mixing speech and noise" + resampled
