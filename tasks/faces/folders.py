"""Real faces: Labeled Faces in the Wild as it is distributed, or any folder ``identity/*.jpg``.

LFW (Huang et al. 2007, University of Massachusetts 07-49) has ``lfw/Name/Name_0001.jpg`` and, in a file of its own,
``pairs.txt``: sets of pairs for cross-validation, no person in two of them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import SPLITS, BenchError, Split
from tasks.faces.album import Indices, Pictures

SUFFIXES = (".jpg", ".jpeg", ".png")
PAIRS = "pairs.txt"
LAYOUT = "a folder for each person with two or more pictures in it, such as lfw/Name/Name_0001.jpg"
SHARES: dict[Split, float] = {"dev": 0.1, "eval": 0.2}  # of the people, where no pairs.txt says who is scored
FEWEST = 6  # people: two a split
HELD_OUT: dict[Split, slice] = {"dev": slice(-3, -2), "eval": slice(-2, None)}  # sets of pairs.txt


@dataclass(frozen=True)
class Folder:
    """People with pictures of them in a folder each.

    Without ``pairs.txt``, people are split by a digest of their names. With it, its last two sets of pairs are eval's,
    the one before them is dev's, and train has everybody whom none of these names.

    Attributes:
        path: the folder, or the one that holds it as ``lfw``.
        pixels: of an edge, that pictures are brought to.
        crop: what is used of the shorter edge of a picture, from its middle.
    """

    path: Path
    pixels: int
    crop: float

    def check(self) -> None:
        """Raise ``BenchError`` for what shows without opening a picture."""
        self._split  # noqa: B018  (it refuses what cannot be split)

    def identity(self) -> dict[str, Any]:
        """A digest of names, sizes and times of all pictures, and of the list of pairs."""
        digest = hashlib.sha256()
        for file in (own for files in self._files.values() for own in files):
            status = file.stat()
            digest.update(f"{file.relative_to(self._root)} {status.st_size} {status.st_mtime_ns}\n".encode())
        if self._pairs_file is not None:
            digest.update(self._pairs_file.read_bytes())
        return {"folder": digest.hexdigest()[:32], "pixels": self.pixels, "crop": self.crop}

    def people(self, split: Split) -> list[tuple[str, int]]:
        """The folders of a split, by name."""
        return [(name, len(self._files[name])) for name in self._split[split]]

    def pictures(self, split: Split, number: int) -> Pictures:
        """Those of a person, (n, 3, pixels, pixels), cropped and resized."""
        return np.stack(
            [read_picture(file, self.pixels, self.crop) for file in self._files[self._split[split][number]]]
        )

    def pairs(self, split: Split) -> Indices | None:
        """The pairs of ``pairs.txt``, if it is there; none for train."""
        if self._pairs_file is None or split not in HELD_OUT:
            return None
        files = [file for name in self._split[split] for file in self._files[name]]
        at = {file: position for position, file in enumerate(files)}
        return np.array([[at[own] for own in pair] for part in self._sets[HELD_OUT[split]] for pair in part])

    @cached_property
    def _root(self) -> Path:
        if not self.path.is_dir():
            problem = "is a file" if self.path.exists() else "does not exist"
            raise BenchError(f"faces: {self.path} {problem}: expected {LAYOUT}")
        return self.path / "lfw" if (self.path / "lfw").is_dir() else self.path

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        folders = sorted(own for own in self._root.iterdir() if own.is_dir() and not own.name.startswith("."))
        found = {own.name: sorted(f for f in own.iterdir() if f.suffix.lower() in SUFFIXES) for own in folders}
        if not found:
            raise BenchError(f"faces: {self._root} is empty: expected {LAYOUT}")
        for name, files in found.items():
            if not files:
                raise BenchError(
                    f"faces: {self._root / name} holds no picture: expected files that end with {', '.join(SUFFIXES)}; "
                    "fill the folder or remove it"
                )
        return found

    @cached_property
    def _split(self) -> dict[Split, list[str]]:
        if self._pairs_file is not None:
            named = {
                split: {file.parent.name for part in self._sets[own] for pair in part for file in pair}
                for split, own in HELD_OUT.items()
            }
            held_out = named["dev"] | named["eval"]
            train = [name for name, files in self._files.items() if len(files) > 1 and name not in held_out]
            if len(train) < 2:
                raise BenchError(
                    f"faces: {self._root} leaves {len(train)} people to train on beside those of {self._pairs_file}"
                )
            return {"train": train, "dev": sorted(named["dev"]), "eval": sorted(named["eval"])}
        names = sorted(self._several(), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        if len(names) < FEWEST:
            raise BenchError(
                f"faces: {self._root} has {len(names)} people with two or more pictures, expected at least {FEWEST}: "
                "two in train, dev and eval each, nobody in two of them"
            )
        dev, scored = (max(2, round(SHARES[own] * len(names))) for own in SHARES)
        parts = names[dev + scored :], names[:dev], names[dev : dev + scored]
        return {split: sorted(part) for split, part in zip(SPLITS, parts, strict=True)}

    def _several(self) -> list[str]:
        """Whoever has several pictures; people with a single one are left out of LFW, and a mistake elsewhere."""
        lfw = all(file.stem == f"{name}_{file.stem[-4:]}" for name, files in self._files.items() for file in files)
        for name, files in self._files.items():
            if len(files) == 1 and not lfw:
                raise BenchError(
                    f"faces: {files[0]} is the only picture of {name!r}, expected two or more of everybody: pictures "
                    "of one person are compared; add one or remove the folder"
                )
        return [name for name, files in self._files.items() if len(files) > 1]

    @cached_property
    def _pairs_file(self) -> Path | None:
        return next((own for own in (self._root / PAIRS, self._root.parent / PAIRS) if own.is_file()), None)

    @cached_property
    def _sets(self) -> list[list[tuple[Path, Path]]]:
        """The sets of ``pairs.txt``: a line with number and size, then of each as many same as different pairs."""
        assert self._pairs_file is not None
        first, *lines = self._pairs_file.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        numbers = [int(own) if own.isdigit() else 0 for own in first.split()]
        sets, size = numbers if len(numbers) == 2 else (0, 0)
        if sets < 4 or not size or len(lines) < 2 * sets * size:
            raise BenchError(
                f"faces: {self._pairs_file} begins with {first!r} and has {len(lines)} pairs: expected the number of "
                "sets, 4 or more, and that of their pairs of either kind, then all pairs"
            )
        pairs = [self._pair(line, number) for number, line in enumerate(lines[: 2 * sets * size], 2)]
        return [pairs[start : start + 2 * size] for start in range(0, len(pairs), 2 * size)]

    def _pair(self, line: str, number: int) -> tuple[Path, Path]:
        cells = line.split("\t")
        if len(cells) == 3:
            cells.insert(2, cells[0])
        known = {file.stem: file for name in cells[::2] for file in self._files.get(name, ())}
        found = [known.get(f"{name}_{which:0>4}") for name, which in zip(cells[::2], cells[1::2], strict=False)]
        if len(cells) != 4 or None in found:
            raise BenchError(
                f"faces: {self._pairs_file}, line {number}: {line!r} names no two pictures in {self._root}: expected "
                "name, number, number, or name, number, name, number, with tabs between"
            )
        return found[0], found[1]  # type: ignore[return-value]


def read_picture(path: Path, pixels: int, crop: float) -> Pictures:
    """The middle of a picture in red, green and blue, (3, pixels, pixels).

    Args:
        path: of any format that Pillow knows.
        pixels: of an edge.
        crop: what is used of the shorter edge, in (0, 1].

    Raises:
        BenchError: it is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BenchError(f"faces: {path} cannot be read as a picture: replace or remove it") from error
    half = crop * min(picture.size) / 2
    x, y = (length / 2 for length in picture.size)
    small = picture.resize((pixels, pixels), Image.Resampling.BILINEAR, (x - half, y - half, x + half, y + half))
    return np.asarray(small).transpose(2, 0, 1)
