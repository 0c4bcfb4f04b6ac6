"""ESC-50 on disk, as it is distributed: five-second noises in five folds, and a table that says what they are.

Piczak (2015), https://github.com/karolpiczak/ESC-50. The embedded noises are written in the same layout.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import BenchError
from tasks.vad.vctk import first_few

AUDIO = "audio"
TABLE = Path("meta") / "esc50.csv"
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
FOLDS = {"train": (1, 2, 3), "dev": (4,), "eval": (5,)}
#: sounds of a human vocal tract, some of them voiced: whether they are speech is a matter of opinion
VOCAL = frozenset({"crying_baby", "laughing", "coughing", "sneezing", "breathing", "snoring"})


@dataclass(frozen=True)
class Clip:
    """One noise of the table."""

    category: str
    fold: int
    path: Path


def esc50_root(folder: Path) -> Path:
    """``folder``, or its child ``ESC-50-master`` as the distributed archive unpacks, whichever holds the table."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise BenchError(f"Noise folder {folder} {problem}: expected the folder that holds {TABLE} and {AUDIO}/.")
    for root in (folder, folder / "ESC-50-master"):
        if (root / TABLE).is_file():
            return root
    raise BenchError(
        f"{folder} is no ESC-50 corpus: it has no {TABLE}, nor has {folder / 'ESC-50-master'}. "
        "Unpack ESC-50-master.zip and name the folder that it was unpacked to."
    )


def read_clips(root: Path) -> list[Clip]:
    """All noises but vocal ones, in the order of the table; their audio is there.

    Raises:
        BenchError: the table cannot be read, a fold has no noise, or audio files are missing.
    """
    table = root / TABLE
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        clips = [Clip(row["category"], int(row["fold"]), root / AUDIO / row["filename"]) for row in rows]
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise BenchError(
            f"{table} cannot be read ({type(error).__name__}: {error}): expected columns filename, fold (a number) "
            "and category, as ESC-50 has them. Unpack the corpus again."
        ) from error
    clips = [clip for clip in clips if clip.category not in VOCAL]
    for split, folds in FOLDS.items():
        if not any(clip.fold in folds for clip in clips):
            raise BenchError(
                f"{table} lists no noise for {split}: expected some in fold {' or '.join(map(str, folds))}."
            )
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        raise BenchError(
            f"{len(missing)} of {len(clips)} files that {table} lists are missing: {first_few(missing, root)}. "
            "Unpack the corpus again."
        )
    return clips


def write_table(root: Path, clips: Iterable[Clip]) -> None:
    """Write the table, where :func:`read_clips` looks for it."""
    clips = list(clips)
    targets = {category: number for number, category in enumerate(sorted({clip.category for clip in clips}))}
    (root / TABLE).parent.mkdir(parents=True, exist_ok=True)
    with (root / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, clip in enumerate(clips):
            writer.writerow([clip.path.name, clip.fold, targets[clip.category], clip.category, False, number, "A"])
