"""Log filterbank features of a corpus: computed once, kept on disk in half precision, read through a memory map."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bench import BenchError, cached_folder, folder_digest
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.filterbank import Half, log_energies, widened
from tasks._workers import in_threads
from tasks.antispoof.asvspoof import Utterance, read_audio

if TYPE_CHECKING:
    from torch import Tensor

FEATURES_VERSION = 2  # raise it whenever the same settings give other values
FRAMES = "frames.npy"
OFFSETS = "offsets.npy"
UTTERANCES = "utterances.json"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class FeatureSettings:
    """Linear triangular bands of the power spectrum, in natural logarithm.

    Attributes:
        bands: triangles between 0 Hz and 8 kHz, equally wide: artefacts of vocoders lie high.
        window: samples under the Hann window (25 ms).
        hop: samples from one frame to the next (10 ms).
        fft_size: samples of the transform, zero-padded.
        floor: added to the power before the logarithm.
    """

    bands: int = 60
    window: int = 400
    hop: int = 160
    fft_size: int = 512
    floor: float = 1e-8


class FeatureSplit:
    """Features of one split, left on disk until asked for.

    Attributes:
        labels: 1 for bona fide, 0 for spoof, (utterances,), int64.
        attacks: ``bonafide`` or the name of the system, (utterances,), strings.
        keys: names of the utterances.
        digest: names what is in all of that.
    """

    def __init__(self, folder: Path) -> None:
        rows: list[dict[str, str]] = json.loads((folder / UTTERANCES).read_text(encoding="utf-8"))
        self.keys: list[str] = [row["key"] for row in rows]
        self.attacks: NDArray[np.str_] = np.array([row["attack"] for row in rows])
        self.labels: NDArray[np.int64] = np.array([row["bonafide"] for row in rows], np.int64)
        self.digest = folder_digest(folder)
        self._offsets: NDArray[np.int64] = np.load(folder / OFFSETS)
        # slices of a memmap are slow, those of an array over the same memory are not
        self._frames: Half = np.asarray(np.load(folder / FRAMES, mmap_mode="r"))
        self._means: dict[int, NDArray[np.float32]] = {}  # each utterance is read many times in a training

    def __len__(self) -> int:
        return len(self.keys)

    def frames(self, index: int) -> Half:
        """A view of the features of one utterance: (frames, bands), float16."""
        return self._frames[self._offsets[index] : self._offsets[index + 1]]

    def mean(self, index: int) -> NDArray[np.float32]:
        """Of each band over the frames of one utterance: (bands,)."""
        if index not in self._means:
            self._means[index] = widened(self.frames(index)).mean(0)
        return self._means[index]


def prepare_features(
    read: Callable[[str], list[Utterance]],
    cache: Path,
    identity: Mapping[str, Any],
    settings: FeatureSettings,
    split: str,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> FeatureSplit:
    """Features of ``split`` (train, dev or eval), computed now unless they are in ``cache``.

    Args:
        read: the utterances of a split; called only when there is something to compute.
        cache: folder of caches.
        identity: what names the corpus, JSON-serialisable.
        settings: what to compute.
        split: train, dev or eval.
        workers: threads; reading and transforms both leave Python's lock.
        progress: called with the fraction done.
    """
    made_from = {
        "identity": dict(identity),
        "features": asdict(settings),
        "features_version": FEATURES_VERSION,
        "split": split,
    }

    def build(folder: Path) -> None:
        utterances = read(split)
        _write_frames(folder, utterances, settings, workers, progress)
        rows = [{"key": u.key, "attack": u.attack, "bonafide": u.bonafide} for u in utterances]
        (folder / UTTERANCES).write_text(json.dumps(rows), encoding="utf-8")

    return FeatureSplit(cached_folder(cache, f"antispoof-{split}", made_from, build))


def band_weights(settings: FeatureSettings) -> "Tensor":
    """The bands as weights of the power spectrum: (fft_size // 2 + 1, bands)."""
    from torchaudio.functional import linear_fbanks

    bins = settings.fft_size // 2 + 1
    return linear_fbanks(bins, 0.0, SAMPLE_RATE / 2, settings.bands, SAMPLE_RATE)  # type: ignore[no-any-return]


def filterbank(settings: FeatureSettings) -> Callable[[Signal], Half]:
    """A function from samples at 16 kHz, (samples,), to features, (samples // hop, bands), at least one frame."""
    return log_energies(band_weights(settings), settings.window, settings.hop, settings.floor)


def _write_frames(
    folder: Path, utterances: list[Utterance], settings: FeatureSettings, workers: int, progress: Progress | None
) -> None:
    """One file with the frames of all utterances, one after the other, and one that says where each begins."""
    compute = filterbank(settings)

    def work(utterance: Utterance) -> Half:
        frames = compute(read_audio(utterance.path))
        if not np.isfinite(frames).all():
            raise BenchError(f"Audio file {utterance.path} gives features that are not finite: remove it.")
        return frames

    offsets = np.zeros(len(utterances) + 1, np.int64)
    with (folder / FRAMES).open("wb") as file:
        _write_header(file, 0, settings.bands)
        for index, frames in enumerate(in_threads(work, utterances, workers)):
            file.write(frames.tobytes())
            offsets[index + 1] = offsets[index] + len(frames)
            if progress:
                progress((index + 1) / len(utterances))
        file.seek(0)
        _write_header(file, int(offsets[-1]), settings.bands)
    np.save(folder / OFFSETS, offsets)


def _write_header(file: BinaryIO, frames: int, bands: int) -> None:
    """The header of a float16 array; NumPy pads it so that the first dimension can be filled in later."""
    header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": (frames, bands)}
    np.lib.format.write_array_header_1_0(file, header)
