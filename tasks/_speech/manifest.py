"""A corpus of one's own: a table of recordings in ``manifest.csv``, beside the folders that hold them.

A line for each recording: ``path`` (relative to the table), ``label``, ``split`` (train, dev, eval), ``speaker`` (it
may be empty), and one more column that the task names. Further columns are left alone.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from bench import SPLITS, BenchError, Progress, Recording, cached_folder, inspect_recordings, listing_problems

NAME = "manifest.csv"
COLUMNS = ("path", "label", "split", "speaker")
DIGEST = "digest.txt"
_INCOMPLETE = "expected as many cells as the header has; put quotes around a cell that holds a comma"

#: turns the cell of the task's own column into fields of the recording; raises ``ValueError`` with what is wrong
Parse = Callable[[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """A table of recordings.

    Attributes:
        path: where it lies.
        labels: the classes, of each of which every split needs some.
        column: the task's own column.
        parse: from label and cell of that column to fields of ``Recording``.
        also: recordings that another corpus contributes.
    """

    path: Path
    labels: tuple[str, ...]
    column: str
    parse: Parse
    also: tuple[Recording, ...] = ()

    @cached_property
    def recordings(self) -> list[Recording]:
        """All lines, then those of the other corpus; what is wrong with one is its ``problem``.

        Raises:
            BenchError: the file as a whole is not such a table.
        """
        first: dict[PurePosixPath, int] = {}
        rows = [self._row(*line, first) for line in _read(self.path, (*COLUMNS, self.column))]
        if not rows:
            raise BenchError(f"{self.path} lists nothing: expected a line for each recording below its header.")
        return [*rows, *self.also]

    def check(self) -> None:
        """Raise ``BenchError`` for what shows without opening a recording."""
        self._refuse(listing_problems(self.recordings, self.labels))

    def of(self, split: str, label: str) -> list[Recording]:
        """The recordings of one class of ``split``, in the order of the table."""
        return [row for row in self.recordings if (row.split, row.label) == (split, label)]

    def key(self, recording: Recording) -> str:
        """What names a recording wherever the corpus lies."""
        here = recording.path.is_relative_to(self.path.parent)
        return recording.path.relative_to(self.path.parent).as_posix() if here else recording.path.name

    def places(self) -> list[Path]:
        """The table and the files and folders beside it that hold its recordings."""
        tops = {self.key(row).split("/")[0] for row in self.recordings if row.listed and not row.problem}
        return [self.path, *(self.path.parent / top for top in sorted(tops))]

    def identity(
        self, cache: Path, workers: int = 1, progress: Progress = lambda fraction, note: None
    ) -> dict[str, str]:
        """What names the corpus: a digest of its lines and samples, the same wherever it lies.

        All recordings are read for it, once: the digest is in the cache under their paths, sizes and times.

        Raises:
            BenchError: a recording cannot be trained on.
        """
        self.check()
        stamp = hashlib.sha256()
        for row in self.recordings:
            state = row.path.stat()
            stamp.update(f"{row} {state.st_size} {state.st_mtime_ns}\n".encode())
        made_from = {"manifest": str(self.path.absolute()), "state": stamp.hexdigest()[:32]}

        def build(folder: Path) -> None:
            found = inspect_recordings(self.recordings, self.labels, workers, progress)
            self._refuse(found.problems)
            digest = hashlib.sha256()
            for row, sound in zip(self.recordings, found.sounds, strict=True):
                facts = [row.split, row.label, row.speaker, row.kind, row.segments]
                digest.update(f"{self.key(row)} {facts} {sound.digest}\n".encode())
            (folder / DIGEST).write_text(digest.hexdigest()[:32], encoding="utf-8")

        folder = cached_folder(cache, "manifest", made_from, build)
        return {"corpus": "manifest", "digest": (folder / DIGEST).read_text(encoding="utf-8")}

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            others = f" ({len(problems) - 1} more; `bench data check` lists them)" if len(problems) > 1 else ""
            raise BenchError(f"{self.path} cannot be trained on: {problems[0]}{others}")

    def _row(self, number: int, cells: dict[str, str], complete: bool, first: dict[PurePosixPath, int]) -> Recording:
        """One line; ``first`` holds the number of the line that lists a path first."""
        path, more = PurePosixPath(cells["path"]), dict[str, Any]()
        earlier, listed = first.setdefault(path, number), f"{self.path.name}, line {number}"
        problem = self._problem(cells, path) if complete else _INCOMPLETE
        if not problem:
            try:
                more = self.parse(cells["label"], cells[self.column])
            except ValueError as error:
                problem = str(error)
        if not problem and earlier != number:
            problem = f"line {earlier} lists it already"
        split, label, speaker = cells["split"], cells["label"], cells["speaker"]
        return Recording(self.path.parent / path, split, label, speaker, **more, listed=listed, problem=problem)

    def _problem(self, cells: dict[str, str], path: PurePosixPath) -> str:
        """What is wrong with the cells of a line, if anything."""
        if not cells["path"]:
            return "it has no path"
        if "\\" in cells["path"]:
            return "write / between folders, not \\"
        if path.is_absolute() or ".." in path.parts:
            return f"expected a path within {self.path.parent}, relative to it, so that the corpus can be moved"
        if cells["split"] not in SPLITS:
            return f"split is {cells['split']!r}, expected {', '.join(SPLITS)}"
        if cells["label"] not in self.labels:
            return f"label is {cells['label']!r}, expected {' or '.join(self.labels)}"
        return ""


def manifest_path(data: str) -> Path | None:
    """The table that ``data`` names, as a file or as the folder that holds ``manifest.csv``; None if it names none."""
    path = Path(data)
    if path.suffix.lower() == ".csv":
        return path
    return path / NAME if (path / NAME).is_file() else None


def _read(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Of each line its number, its cells, and whether it has as many as the header.

    Raises:
        BenchError: the file is no table with these columns.
    """
    expected = f"expected a table with the columns {','.join(columns)}"
    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise BenchError(f"Manifest {path} {problem}: {expected}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            if missing := [name for name in columns if name not in names]:
                raise BenchError(f"Manifest {path} has no column {missing[0]}{_why(names)}: {expected}.")
            if twice := [name for name in columns if names.count(name) > 1]:
                raise BenchError(f"Manifest {path} has two columns {twice[0]}: {expected}.")
            for cells in reader:
                complete = None not in cells and None not in cells.values()  # as the csv module says it
                yield reader.line_num, {name: (cells[name] or "").strip() for name in columns}, complete
    except UnicodeDecodeError as error:
        raise BenchError(f"Manifest {path} is not in UTF-8 ({error.reason}): save it as CSV in UTF-8.") from error
    except (csv.Error, OSError) as error:
        raise BenchError(f"Manifest {path} cannot be read as CSV ({error}): {expected}.") from error


def _why(names: list[str]) -> str:
    """Why a column may be missing."""
    if not names:
        return ", it is empty"
    if len(names) == 1 and (other := next((sign for sign in ";\t|" if sign in names[0]), "")):
        return f", since its cells are separated by {other!r}; separate them by commas"
    return f", but {', '.join(names)}"
