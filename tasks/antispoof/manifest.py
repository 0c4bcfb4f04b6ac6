"""A corpus of one's own: bona fide and spoofed recordings in one table, the split of each given there."""

from pathlib import Path
from typing import Any

from tasks._speech.manifest import Manifest
from tasks.antispoof.asvspoof import BONAFIDE, SPOOF, Utterance

LABELS = (BONAFIDE, SPOOF)
COLUMN = "attack"
UNKNOWN = "unknown"


def manifest_at(path: Path) -> Manifest:
    """The table at ``path``."""
    return Manifest(path, LABELS, COLUMN, attack_of)


def attack_of(label: str, text: str) -> dict[str, Any]:
    """The system that made a spoofed recording; ``unknown`` if it is not given.

    Raises:
        ValueError: a bona fide recording has one.
    """
    attack = "" if text == "-" else text
    if label == BONAFIDE and attack:
        raise ValueError(f"a bona fide recording has the attack {attack!r}: leave it empty, or call it {SPOOF}")
    return {"kind": (attack or UNKNOWN) if label == SPOOF else ""}


def utterances_of(manifest: Manifest, split: str) -> list[Utterance]:
    """The recordings of ``split``, in the order of the table."""
    rows = [row for row in manifest.recordings if row.split == split]
    return [Utterance(manifest.key(r), r.speaker, r.kind or BONAFIDE, r.label == BONAFIDE, r.path) for r in rows]
