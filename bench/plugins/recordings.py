"""The sound files that a task reads: what is in them, and what speaks against training on them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import combinations
from os.path import isfile  # false for what cannot be looked at, too
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bench.plugins.task import SPLITS

if TYPE_CHECKING:
    from bench.plugins.task import Progress

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

AT_ONCE = 1 << 18  # samples of each channel that are in memory
FULL_SCALE = 1 - 2**-15  # the largest sample that 16 bits hold
CLIPPED_SHARE = 1e-3  # of all samples at full scale, from which on a recording counts as clipped
TOLERANCE_S = 0.01  # that a segment may end after its recording: times are rounded
NAMED = 20  # names in a message


@dataclass(frozen=True)
class Recording:
    """A sound file that a task reads, as it is listed.

    Attributes:
        path: where it lies.
        split: train, dev or eval.
        label: its class.
        speaker: who speaks, in no other split; empty if nobody does, or if it is not known.
        kind: what it is within its class, such as an attack.
        segments: start and end in seconds of each stretch of speech; none if they are not listed.
        listed: the place of the list that names it, for messages: ``manifest.csv, line 3``.
        problem: what is wrong with its place in the list; such a file is not opened.
    """

    path: Path
    split: str
    label: str
    speaker: str = ""
    kind: str = ""
    segments: tuple[tuple[float, float], ...] = ()
    listed: str = ""
    problem: str = ""

    def wrong(self, problem: str) -> str:
        """A message that names the file and where it is listed."""
        return f"{self.listed}: {self.path}: {problem}" if self.listed else f"{self.path}: {problem}"


@dataclass(frozen=True)
class SoundFacts:
    """What a file holds.

    Attributes:
        rate: samples per second.
        channels: how many.
        seconds: its length.
        clipped: whether more than a thousandth of its samples are at full scale.
        cut: whether its header tells of another length, as that of a WAV file that was copied in part.
        digest: names its samples and rate, whatever the format of the file.
        problem: why it cannot be used; empty if it can.
    """

    rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    clipped: bool = False
    cut: bool = False
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Inspection:
    """What a task would train on.

    Attributes:
        recordings: all that are listed.
        sounds: what is in each of them.
        problems: why nothing can be trained on them, each in one line.
        notes: what one should know beside that, each in one line.
    """

    recordings: Sequence[Recording]
    sounds: Sequence[SoundFacts]
    problems: list[str]
    notes: list[str]


def inspect_recordings(
    recordings: Sequence[Recording], labels: Sequence[str], workers: int, progress: Progress
) -> Inspection:
    """Read all recordings from beginning to end and compare them.

    Args:
        recordings: that a task reads.
        labels: of which every split needs some recordings.
        workers: threads; decoding leaves Python's lock.
        progress: called with the fraction done and what is being done.
    """
    sounds: list[SoundFacts] = []
    with ThreadPoolExecutor(max(1, workers)) as pool, closing(_results(pool, recordings)) as results:
        for sound in results:
            sounds.append(sound)
            progress(len(sounds) / len(recordings), "reading the recordings")
    pairs = list(zip(recordings, sounds, strict=True))
    heard = [r.wrong(text) for r, s in pairs if (text := s.problem or _outside(r, s))]
    problems = [*listing_problems(recordings, labels), *heard, *_leaks(pairs)]
    return Inspection(recordings, sounds, problems, _notes(pairs))


def listing_problems(recordings: Sequence[Recording], labels: Sequence[str]) -> list[str]:
    """What is wrong with a list of recordings, as far as it shows without opening them; each problem in one line."""
    said = (r.problem or ("" if isfile(r.path) else "there is no such file") for r in recordings)
    problems = [r.wrong(text) for r, text in zip(recordings, said, strict=True) if text]
    usable = [r for r in recordings if not r.problem]
    for split in SPLITS:
        there = {r.label for r in usable if r.split == split}
        if not there:
            problems.append(f"nothing is listed for {split}: put some of the recordings, of other speakers, into it")
        elif lacking := [label for label in labels if label not in there]:
            only = f"{split} has {' and '.join(sorted(there))} recordings only"
            problems.append(f"{only}: list some {' and '.join(lacking)} ones as well")
    groups = _groups((r.speaker, r.split) for r in usable if r.speaker)
    for one, other in combinations(SPLITS, 2):
        if both := [speaker for speaker, splits in groups.items() if {one, other} <= set(splits)]:
            who = f"speaker {both[0]} is" if len(both) == 1 else f"{len(both)} speakers ({_few(both)}) are"
            problems.append(f"{who} in {one} and in {other}: keep each in one split, or scores are too good to be true")
    return problems


def listen(recording: Recording) -> SoundFacts:
    """Read one file block by block; what is wrong with it becomes its problem. What is not there holds nothing."""
    import soundfile

    if recording.problem or not isfile(recording.path):
        return SoundFacts()
    try:
        with soundfile.SoundFile(recording.path) as file:
            sound = _measured(file.blocks(AT_ONCE, dtype="float32", always_2d=True), file.samplerate, file.channels)
            return replace(sound, cut="(should be" in file.extra_info)  # the words of libsndfile
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: a format without a header
        return SoundFacts(problem=f"it cannot be read as sound, since it is empty or damaged ({error})")


def _results(pool: ThreadPoolExecutor, recordings: Sequence[Recording]) -> Generator[SoundFacts]:
    """Closed early, as by Ctrl-C, it cancels what has not begun."""
    yield from pool.map(listen, recordings)


def _measured(blocks: Iterable[np.ndarray], rate: int, channels: int) -> SoundFacts:
    digest, count, loud, peak = hashlib.sha256(f"{rate} {channels}".encode()), 0, 0, 0.0
    for block in blocks:
        if not np.isfinite(block).all():
            return SoundFacts(problem="it has samples that are not finite")
        level = np.abs(block)
        digest.update(block.tobytes())
        count, loud, peak = count + block.size, loud + int((level >= FULL_SCALE).sum()), max(peak, float(level.max()))
    if not count or not peak:
        return SoundFacts(problem="it has no samples" if not count else "it is silent, all its samples are 0")
    clipped = loud > CLIPPED_SHARE * count
    return SoundFacts(rate, channels, count / channels / rate, clipped, digest=digest.hexdigest()[:32])


def _outside(recording: Recording, sound: SoundFacts) -> str:
    """What is wrong with its last segment, if anything."""
    if not (sound.digest and recording.segments) or (end := recording.segments[-1][1]) <= sound.seconds + TOLERANCE_S:
        return ""
    return f"a segment ends at {end:g} s, but the recording at {sound.seconds:.2f} s"


def _leaks(pairs: Sequence[tuple[Recording, SoundFacts]]) -> list[str]:
    """Recordings of one split that another has, too."""
    same = _groups((s.digest, r) for r, s in pairs if s.digest)
    return [
        second.wrong(f"{second.split} has the same samples as {first.split} in {first.path}: keep one of them")
        for first, *others in same.values()
        for second in others
        if second.split != first.split
    ]


def _notes(pairs: Sequence[tuple[Recording, SoundFacts]]) -> list[str]:
    same = _groups(((s.digest, r.split), r) for r, s in pairs if s.digest)
    found = {
        "clipped (more than a thousandth of their samples at full scale)": [r for r, s in pairs if s.clipped],
        "not as long as their header says": [r for r, s in pairs if s.cut],
        "copies of another in their split, sample by sample": [r for _, *others in same.values() for r in others],
        "shorter than 0.1 s": [r for r, s in pairs if s.digest and s.seconds < 0.1],
    }
    return [
        f"{len(those)} of {len(pairs)} are {what}: {_few([str(r.path) for r in those])}"
        for what, those in found.items()
        if those
    ]


def _groups(pairs: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for key, item in pairs:
        groups[key].append(item)
    return groups


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
