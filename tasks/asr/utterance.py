"""What is said, by whom, in which files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import SPLITS, BenchError
from tasks._speech.audio import seconds_of


@dataclass(frozen=True)
class Utterance:
    """What one speaker says in one recording, or in several that are played one after the other."""

    key: str
    speaker: str
    words: tuple[str, ...]
    paths: tuple[Path, ...]
    listed_in: Path  # what says that these words are said

    @property
    def seconds(self) -> float:
        """Length of all recordings; a ``BenchError`` names one that cannot be read."""
        return sum(seconds_of(path, str(self.listed_in)) for path in self.paths)


#: the utterances of a split
Reader = Callable[[str], list[Utterance]]


def no_longer_than(utterances: list[Utterance], seconds: float) -> list[Utterance]:
    """Those that fit into a recording of this length.

    Raises:
        BenchError: none does.
    """
    lengths = [utterance.seconds for utterance in utterances]
    fitting = [u for u, length in zip(utterances, lengths, strict=True) if length <= seconds]
    if not fitting:
        raise BenchError(
            f"{utterances[0].listed_in} and others list utterances of {min(lengths):.2f} s and more, but recordings "
            f"are of {seconds:g} s: choose longer ones (--set seconds={max(lengths):.1f} takes all)."
        )
    return fitting


def digest_of(read: Reader) -> str:
    """What names a corpus: the words and the names and sizes of all files, which are not opened."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for u in read(split):
            sizes = [(path.name, path.stat().st_size) for path in u.paths]
            digest.update(f"{split} {u.key} {u.speaker} {u.words} {sizes}\n".encode())
    return digest.hexdigest()[:32]
