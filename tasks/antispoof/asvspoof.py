"""ASVspoof 2019 LA on disk: protocol files and FLAC audio, as the corpus is distributed.

Todisco et al. (2019), https://doi.org/10.7488/ds/2555. The embedded corpus is written in the same layout.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import SPLITS, BenchError
from tasks._speech import Signal
from tasks._speech.audio import read_recording

BONAFIDE = "bonafide"
SPOOF = "spoof"
PROTOCOLS = "ASVspoof2019_LA_cm_protocols"
PROTOCOL_NAMES = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}
LAYOUT = f"{PROTOCOLS}/ and ASVspoof2019_LA_train/flac/ (dev, eval likewise)"


@dataclass(frozen=True)
class Utterance:
    """One line of a protocol: ``attack`` is ``bonafide`` or the name of a system (``A07``)."""

    key: str
    speaker: str
    attack: str
    bonafide: bool
    path: Path


def corpus_root(folder: Path) -> Path:
    """``folder``, or its child ``LA`` as the distributed archive unpacks, whichever holds the protocols."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise BenchError(f"Corpus folder {folder} {problem}: expected the folder that holds {LAYOUT}.")
    for root in (folder, folder / "LA"):
        if (root / PROTOCOLS).is_dir():
            return root
    raise BenchError(
        f"{folder} is no ASVspoof 2019 LA corpus: expected {LAYOUT} in it, or in {folder / 'LA'}. "
        "Unpack LA.zip and name the folder that it was unpacked to; a corpus of your own has a manifest.csv."
    )


def protocol_path(root: Path, split: str) -> Path:
    """Where the protocol of ``split`` (train, dev or eval) lies."""
    return root / PROTOCOLS / PROTOCOL_NAMES[split]


def audio_path(root: Path, split: str, key: str) -> Path:
    """Where the audio of utterance ``key`` lies."""
    return root / f"ASVspoof2019_LA_{split}" / "flac" / f"{key}.flac"


def read_protocol(root: Path, split: str) -> list[Utterance]:
    """All utterances of ``split``, in the order of its protocol; both classes are there.

    Whether the audio exists is not looked at here; :func:`read_audio` says so when it does not.
    """
    root = corpus_root(root)
    path = protocol_path(root, split)
    if not path.is_file():
        raise BenchError(f"Protocol {path} is missing: expected the list of {split} utterances of ASVspoof 2019 LA.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"Protocol {path} cannot be read as text: {error}.") from error
    utterances = [
        _parsed(root, split, line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not utterances:
        raise BenchError(f"Protocol {path} is empty: expected one line for each {split} utterance.")
    keys = {utterance.bonafide for utterance in utterances}
    if len(keys) == 1:
        there, missing = (BONAFIDE, SPOOF) if True in keys else (SPOOF, BONAFIDE)
        raise BenchError(f"Protocol {path} lists {there} utterances only: an error rate needs {missing} ones as well.")
    return utterances


def write_protocol(root: Path, split: str, utterances: Iterable[Utterance]) -> None:
    """Write the protocol of ``split``, one line for each utterance, where :func:`read_protocol` looks for it."""
    lines = []
    for item in utterances:
        system, key = ("-", BONAFIDE) if item.bonafide else (item.attack, SPOOF)
        lines.append(f"{item.speaker} {item.key} - {system} {key}\n")
    path = protocol_path(root, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")


def read_audio(path: Path) -> Signal:
    """Samples of an audio file at 16 kHz in [-1, 1], channels averaged: (samples,).

    Files at another rate are resampled.
    """
    return read_recording(path, "the corpus").samples


def corpus_identity(root: Path, splits: Iterable[str] = SPLITS) -> dict[str, str]:
    """What names a corpus on disk: a digest of its protocols and of the sizes of the files they list."""
    root = corpus_root(root)
    digest, found = hashlib.sha256(), dict[str, str]()
    for split in splits:
        for item in read_protocol(root, split):
            if item.key in found:
                raise BenchError(
                    f"Protocol {protocol_path(root, split)} lists {item.key}, which {found[item.key]} has already: "
                    "what is trained on must not be scored, and nothing twice."
                )
            found[item.key] = split
            size = item.path.stat().st_size if item.path.is_file() else -1
            digest.update(f"{split} {item.speaker} {item.key} {item.attack} {size}\n".encode())
    return {"corpus": "ASVspoof 2019 LA layout", "digest": digest.hexdigest()[:32]}


def _parsed(root: Path, split: str, line: str, place: str) -> Utterance:
    fields = line.split()
    if len(fields) != 5:
        raise BenchError(
            f"{place}: {line!r} has {len(fields)} fields; expected 5 fields: "
            "speaker, utterance, -, system (or -), bonafide or spoof."
        )
    speaker, key, _, system, label = fields
    if label not in (BONAFIDE, SPOOF):
        raise BenchError(f"{place}: key {label!r} in {line!r}; expected {BONAFIDE} or {SPOOF}.")
    genuine = label == BONAFIDE
    if genuine != (system == "-"):
        raise BenchError(
            f"{place}: system {system!r} of a {label} utterance in {line!r}; "
            "expected - for bonafide, the name of a system such as A07 for spoof."
        )
    return Utterance(key, speaker, BONAFIDE if genuine else system, genuine, audio_path(root, split, key))
