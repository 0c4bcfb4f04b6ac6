"""Speech Commands v2 on disk, as it is distributed: single words, put together into strings of one speaker.

Warden (2018), arXiv 1804.03209.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from bench import SPLITS, BenchError
from tasks._speech.audio import seconds_of
from tasks.asr.embedded import CorpusSpec
from tasks.asr.utterance import Utterance
from tasks.asr.vocabulary import PHONES

LISTS = {"dev": "validation_list.txt", "eval": "testing_list.txt"}
MARK = "_nohash_"  # between the speaker and the number of a recording
STREAM = 20  # apart from those of the embedded corpus


def is_speech_commands(folder: Path) -> bool:
    """Whether a folder has the lists that the corpus comes with."""
    return any((folder / name).is_file() for name in LISTS.values())


def read_strings(root: Path, spec: CorpusSpec, split: str) -> list[Utterance]:
    """Strings of words, each recording in one at most; no more words than there is time for, but one at least.

    Args:
        root: has ``right/a69b9b3e_nohash_0.wav`` and so on, and the lists of dev and eval.
        spec: how many strings of how many words, how long, and the seed that puts them together.
        split: train, dev or eval.

    Raises:
        BenchError: a list, or what it names, is missing; a word is not in the lexicon; a name is none of the corpus.
    """
    by_speaker: dict[str, list[Path]] = defaultdict(list)
    for path in _recordings(root, split):
        speaker, mark, _ = path.name.partition(MARK)
        if not mark:
            raise BenchError(f"{path}: expected a name such as a69b9b3e{MARK}0.wav, which says who speaks.")
        by_speaker[speaker].append(path)
    position = SPLITS.index(split)
    rng, wanted = np.random.default_rng([spec.seed, position, STREAM]), spec.utterances[position]
    strings: list[Utterance] = []
    for speaker in map(str, rng.permutation(sorted(by_speaker))):
        waiting = [by_speaker[speaker][i] for i in rng.permutation(len(by_speaker[speaker]))]
        while waiting and len(strings) < wanted:
            paths = _next_string(rng, waiting, spec)
            words = tuple(path.parent.name.upper() for path in paths)
            key = f"{speaker}-{len(strings)}"
            strings.append(Utterance(key, speaker, words, tuple(paths), paths[0].parent))
    return strings


def _next_string(rng: np.random.Generator, waiting: list[Path], spec: CorpusSpec) -> list[Path]:
    """Takes a string's recordings from the end of those that are waiting."""
    most, paths, filled = int(rng.integers(spec.words[0], spec.words[1] + 1)), list[Path](), 0.0
    while waiting and len(paths) < most:
        filled += seconds_of(waiting[-1], str(waiting[-1].parent))
        if paths and filled > spec.seconds:
            break
        paths.append(waiting.pop())
    return paths


def _recordings(root: Path, split: str) -> list[Path]:
    listed: dict[str, list[Path]] = {}
    for own, name in LISTS.items():
        if not (root / name).is_file():
            raise BenchError(f"{root / name} is missing: expected the list of {own} recordings of Speech Commands v2.")
        lines = (root / name).read_text(encoding="utf-8", errors="replace").split()
        listed[own] = [root / line for line in lines]
        if missing := [path for path in listed[own] if not path.is_file()]:
            raise BenchError(f"Audio file {missing[0]} is missing, although {root / name} lists it: unpack it again.")
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(("_", "."))]
    for folder in folders:
        PHONES.written([folder.name.upper()], str(folder))
    if split in listed:
        found = sorted(listed[split])
    else:
        scored = {path for own in listed.values() for path in own}
        found = [path for folder in folders for path in sorted(folder.glob("*.wav")) if path not in scored]
    if not found:
        raise BenchError(f"{root} has no {split} recordings: expected right/a69b9b3e{MARK}0.wav and so on.")
    return found
