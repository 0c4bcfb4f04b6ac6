"""Log-mel features of noisy recordings of one length, and their transcripts: computed once, kept on disk."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import SPLITS, BenchError, Progress, cached_folder, folder_digest
from tasks._speech import SAMPLE_RATE, Signal
from tasks._speech.audio import read_recording
from tasks._speech.channel import coloured_noise, unit_level
from tasks._speech.filterbank import Half, log_energies, mel_weights
from tasks._workers import in_threads
from tasks.asr.utterance import Reader, Utterance, no_longer_than
from tasks.asr.vocabulary import Vocabulary

FEATURES_VERSION = 1  # raise it whenever the same corpus and settings give other values
FRAMES, TARGETS, RANGES, UTTERANCES = "frames.npy", "targets.npy", "snr_ranges.npy", "utterances.json"
WINDOW = 400  # samples (25 ms)
HOP = 160  # samples (10 ms)
FLOOR = 1e-6  # added to the power before the logarithm
NOISE_STREAM = 10  # apart from those of the embedded corpus
PADDING = -1  # behind the classes of a transcript


@dataclass(frozen=True)
class Settings:
    """What is made of the recordings of a corpus.

    Attributes:
        seconds: length of every recording: noise goes on before and after the speech.
        bands: mel bands between 0 Hz and 8 kHz.
        snr_ranges_db: ranges of the ratio of speech to noise, which take turns.
        seed: of the noise, and of where the speech begins.
    """

    seconds: float
    bands: int
    snr_ranges_db: tuple[tuple[float, float], ...]
    seed: int

    @property
    def samples(self) -> int:
        """Samples of every recording."""
        return round(self.seconds * SAMPLE_RATE)


class FeatureSplit:
    """Features and transcripts of one split, left on disk until asked for.

    Attributes:
        frames: (utterances, T, bands), natural logarithm of band energies, float16, memory-mapped.
        targets: (utterances, longest) classes of the transcripts, padded with -1, int64.
        ranges: (utterances,), which range the signal-to-noise ratio lies in.
        words: of each utterance.
        keys: names of the utterances.
        speakers: of each utterance.
        digest: names what is in all of that.
    """

    def __init__(self, folder: Path) -> None:
        self.frames: Half = np.asarray(np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False))
        self.targets: NDArray[np.int64] = np.load(folder / TARGETS, allow_pickle=False)
        self.ranges: NDArray[np.int64] = np.load(folder / RANGES, allow_pickle=False)
        rows = json.loads((folder / UTTERANCES).read_text(encoding="utf-8"))
        self.keys: list[str] = [row["key"] for row in rows]
        self.speakers: list[str] = [row["speaker"] for row in rows]
        self.words: list[list[str]] = [row["words"] for row in rows]
        self.digest = folder_digest(folder)

    def __len__(self) -> int:
        return len(self.frames)


def prepare_features(
    read: Reader,
    vocabulary: Vocabulary,
    settings: Settings,
    split: str,
    cache: Path,
    *,
    identity: Mapping[str, Any],
    workers: int = 1,
    progress: Progress = lambda fraction, note: None,
) -> FeatureSplit:
    """Features of a split, computed now unless they are in ``cache``.

    Args:
        read: the utterances of a split; called only if there is work to do. Longer ones than a recording are left out.
        vocabulary: what transcripts are written in.
        settings: what to make of the recordings.
        split: train, dev or eval.
        cache: folder of caches.
        identity: what names the corpus, JSON-serialisable.
        workers: threads; reading and transforms both leave Python's lock.
        progress: called with the fraction done, and how many utterances are left out.
    """
    made_from = {
        "identity": dict(identity),
        "units": vocabulary.units,
        "settings": asdict(settings),
        "features_version": FEATURES_VERSION,
        "split": split,
    }

    def build(folder: Path) -> None:
        listed = read(split)
        utterances = no_longer_than(listed, settings.seconds)
        note = "computing features"
        if left_out := len(listed) - len(utterances):
            said = f"utterances of {split} are left out, as they last more than {settings.seconds:g} s"
            note += f"; {left_out} of {len(listed)} {said}"
        written = [vocabulary.written(u.words, f"{u.listed_in}, utterance {u.key}") for u in utterances]
        targets = np.full((len(written), max(map(len, written))), PADDING, np.int64)
        for row, classes in zip(targets, written, strict=True):
            row[: len(classes)] = classes
        np.save(folder / TARGETS, targets)
        np.save(folder / RANGES, np.arange(len(utterances)) % len(settings.snr_ranges_db))
        rows = [{"key": u.key, "speaker": u.speaker, "words": u.words} for u in utterances]
        (folder / UTTERANCES).write_text(json.dumps(rows), encoding="utf-8")
        energies = log_energies(mel_weights(settings.bands), WINDOW, HOP, FLOOR)
        compute = partial(_compute, energies, utterances, settings, SPLITS.index(split))
        shape = (len(utterances), settings.samples // HOP, settings.bands)
        frames = np.lib.format.open_memmap(folder / FRAMES, "w+", np.float16, shape)
        for index, result in enumerate(in_threads(compute, range(len(utterances)), workers)):
            frames[index] = result
            if index % 8 == 7 or index + 1 == len(utterances):
                progress((index + 1) / len(utterances), note)
        frames.flush()

    return FeatureSplit(cached_folder(cache, f"asr-{split}", made_from, build))


def spoken(utterance: Utterance) -> Signal:
    """The samples of an utterance at 16 kHz, with a root mean square of 1."""
    parts = [read_recording(path, str(utterance.listed_in)).samples for path in utterance.paths]
    for path, part in zip(utterance.paths, parts, strict=True):
        if not np.any(part):
            raise BenchError(f"Audio file {path} is silent: remove it, and its line from {utterance.listed_in}.")
    return unit_level(np.concatenate(parts))


def in_noise(rng: np.random.Generator, speech: Signal, samples: int, snr_db: float) -> Signal:
    """Speech from a random point on in stationary noise that has begun before and goes on afterwards: (samples,)."""
    noise = coloured_noise(rng, samples) * 10 ** (-snr_db / 20)
    start = int(rng.integers(max(1, samples - len(speech) + 1)))
    speech = speech[:samples]  # resampling may round up
    noise[start : start + len(speech)] += speech
    return unit_level(noise)


def _compute(
    energies: Callable[[Signal], Half], utterances: list[Utterance], settings: Settings, split: int, index: int
) -> Half:
    rng = np.random.default_rng([settings.seed, split, index, NOISE_STREAM])
    snr_db = rng.uniform(*settings.snr_ranges_db[index % len(settings.snr_ranges_db)])
    frames = energies(in_noise(rng, spoken(utterances[index]), settings.samples, snr_db))
    if not np.isfinite(frames).all():
        raise BenchError(f"Audio file {utterances[index].paths[0]} gives features that are not finite: remove it.")
    return frames
