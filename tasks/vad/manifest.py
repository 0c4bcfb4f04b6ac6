"""A corpus of one's own: clean recordings of speech and noises in one table, the split of each given there."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import Progress, Recording
from tasks._speech.manifest import Manifest
from tasks.vad.activity import Intervals
from tasks.vad.esc50 import FOLDS, Clip, esc50_root, read_clips
from tasks.vad.mixing import Sources
from tasks.vad.vctk import Utterance

SPEECH, NOISE = "speech", "noise"
LABELS = (SPEECH, NOISE)
COLUMN = "segments"
_SEGMENT = re.compile(r"\s*(\d*\.?\d+)\s*-\s*(\d*\.?\d+)\s*")


@dataclass(frozen=True)
class Listed:
    """Speech, and noise unless a folder with ESC-50 is named for it, from a table."""

    path: Path
    noise: Path | None = None

    @cached_property
    def manifest(self) -> Manifest:
        """The table, with the noises of ESC-50 if it is named."""
        return Manifest(self.path, LABELS, COLUMN, segments_of, tuple(esc50_recordings(self.noise)))

    def check(self) -> None:
        """Every split has speech of its own speakers and noise of its own, and all files are there."""
        self.manifest.check()

    def identity(
        self, cache: Path, workers: int = 1, progress: Progress = lambda fraction, note: None
    ) -> dict[str, str]:
        """What names the data: a digest of lines and samples."""
        return self.manifest.identity(cache, workers, progress)

    def recordings(self, seed: int) -> list[Recording]:
        """All recordings; nothing is drawn by ``seed``."""
        return self.manifest.recordings

    def corpora(self) -> list[Path]:
        """What methods are kept from."""
        return [*self.manifest.places(), *([self.noise] if self.noise else [])]

    def read(self, split: str, seed: int) -> Sources:
        """Speakers and noises of ``split``, as the table has them; one who is not named has one recording."""
        speakers: dict[str, list[Utterance]] = {}
        segments: dict[Path, Intervals] = {}
        for row in self.manifest.of(split, SPEECH):
            key = self.manifest.key(row)
            speakers.setdefault(row.speaker or f"/{key}", []).append(Utterance(key, row.speaker, row.path))
            if row.segments:
                segments[row.path] = np.array(row.segments)
        noises = [Clip(row.kind, 0, row.path) for row in self.manifest.of(split, NOISE)]
        return Sources(list(speakers.values()), noises, lambda utterance: segments.get(utterance.path))


def segments_of(label: str, text: str) -> dict[str, Any]:
    """The stretches of speech in ``0.35-1.2;1.8-3.05``, in seconds; none are listed if the text is empty.

    Raises:
        ValueError: noise has segments, or they are not in ascending order without overlaps.
    """
    if label == NOISE and text:
        raise ValueError(f"a noise has the segments {text!r}: leave them empty, or call it {SPEECH}")
    segments, previous = [], 0.0
    for part in filter(str.strip, text.split(";")):
        if not (found := _SEGMENT.fullmatch(part)):
            raise ValueError(f"segment {part!r}: expected start-end in seconds, such as 0.35-1.2;1.8-3.05")
        start, end = map(float, found.groups())
        if end <= start:
            raise ValueError(f"segment {part!r} ends before it begins: expected start-end in seconds")
        if start < previous:
            raise ValueError(f"segment {part!r} begins before the end of the one before it: merge or sort them")
        segments.append((start, end))
        previous = end
    return {"segments": tuple(segments)}


def esc50_recordings(noise: Path | None) -> list[Recording]:
    """The noises of ESC-50, for ``bench data check``; none without a folder."""
    clips = read_clips(esc50_root(noise)) if noise else []
    splits = {fold: split for split, folds in FOLDS.items() for fold in folds}
    return [Recording(clip.path, splits[clip.fold], NOISE, kind=clip.category) for clip in clips]
