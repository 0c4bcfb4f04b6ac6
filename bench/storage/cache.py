"""Folders named by the settings that made them: what was made once is not made again. ``bench cache`` lists them.

A folder holds ``made_from.json``, the settings that name it, and ``files.json``, the size, times and digest of each of
its files. Whenever a process first asks for a folder it is checked: the sizes and times of all files, which takes
milliseconds, and the digest of every file whose times have changed, as after a copy or a write. A damaged folder is
made again. Only decay of the disk itself, which leaves all times as they were, goes unnoticed.
"""

import datetime
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.errors import BenchError, did_you_mean
from bench.storage.files import file_digest, flush, read_json, sole_supervisor, write_json, write_whole

CACHE = "cache"  # in the results folder
MANIFEST = "made_from.json"
FILES = "files.json"
UNFINISHED = "unfinished"  # kind of a folder whose maker did not come to an end
ALL = "all"

#: what is noted of a file: size in bytes, modification and change time in ns, digest
Note = list[Any]

_checked: set[Path] = set()  # by this process


def content_key(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that name ``settings`` (JSON-serialisable), whatever the order of its keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_folder(root: Path, name: str, settings: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder ``root/name-<key>``, made by ``build(folder)`` unless it is there and undamaged.

    It is built under another name and moved into place, so that a folder which exists is complete. A process that
    asks for a folder which another one is building waits for it.
    """
    folder = root / f"{name}-{content_key(settings)}"
    if folder in _checked and (folder / MANIFEST).is_file():
        return folder
    if intact(folder):
        with suppress(OSError):
            os.utime(folder / MANIFEST)  # when it was last used
    else:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not intact(folder):
                _discard(folder)
                _build(folder, settings, build)
    _checked.add(folder)
    return folder


def folder_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits that name what is in a cached folder: the names and the content of its files.

    They are the same for the same content wherever it lies, whenever and from whatever settings it was made. The files
    themselves are not read again; ``cached_folder`` has looked through them.
    """
    return content_key({name: note[3] for name, note in json.loads((folder / FILES).read_text()).items()})


def intact(folder: Path) -> bool:
    """Whether a cached folder is there, with all its files as they were made."""
    try:
        settings = json.loads((folder / MANIFEST).read_text())
        notes: dict[str, Note] = json.loads((folder / FILES).read_text())
        if folder.name.rpartition("-")[2] != content_key(settings):
            return False
        touched = [name for name, note in notes.items() if _state(folder / name) != note[:3]]
        changed = {name: [*_state(folder / name), file_digest(folder / name)] for name in touched}
        if any(note[::3] != notes[name][::3] for name, note in changed.items()):  # size, digest; times may differ
            return False
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return False
    if changed:
        with suppress(OSError):  # a cache that belongs to somebody else is compared every time
            write_whole(folder / FILES, json.dumps({**notes, **changed}))
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While this lasts, no other process builds this folder; the lock of a process that dies is free.

    Where the file system has no locks both build it, and the first to finish wins.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    with lock.open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # who waits for it holds the file open, and finds the folder made


def _build(folder: Path, settings: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    for draft in folder.parent.glob(f".{folder.name}.*"):
        if _abandoned(draft):
            shutil.rmtree(draft, ignore_errors=True)
    draft = _draft(folder)
    draft.mkdir()
    try:
        build(draft)
        made = sorted(path for path in draft.rglob("*") if path.is_file())
        for path in made:
            flush(path)
        notes = {str(path.relative_to(draft)): [*_state(path), file_digest(path)] for path in made}
        write_whole(draft / FILES, json.dumps(notes))
        write_json(draft / MANIFEST, settings)
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        flush(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _draft(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{socket.gethostname()}.{os.getpid()}")


def _abandoned(draft: Path) -> bool:
    """Whether a process of this machine left this draft behind when it died, or this process has no more use for it."""
    owner, _, pid = draft.name.rpartition(".")
    of_here = owner.endswith(f".{socket.gethostname()}") and pid.isdigit()
    return of_here and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid)))


def _discard(folder: Path) -> None:
    """Move a damaged folder away; a process that has its files open keeps them."""
    away = _draft(folder)
    shutil.rmtree(away, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


@contextmanager
def borrowed(cache: Path) -> Iterator[Path]:
    """A folder of caches to read from and to leave no trace in: what is made there goes when this ends.

    It has what ``cache`` has, as links; the notes of which files are there, and when they were used, are its own.
    """
    with TemporaryDirectory(prefix="bench_cache_") as place:
        for folder in cache.glob("[!.]*/"):
            shutil.copytree(folder, Path(place, folder.name), copy_function=_lend)
        yield Path(place)


def _lend(source: str, target: str) -> None:
    if os.path.basename(source) in (MANIFEST, FILES):
        shutil.copyfile(source, target)
    else:
        os.symlink(os.path.abspath(source), target)


@dataclass(frozen=True)
class Cached:
    """A folder of the cache: of which kind (``dense``), how many bytes, and when a process last asked for it."""

    folder: Path
    kind: str
    key: str
    size_bytes: int
    used: datetime.datetime
    made_from: str  # the settings that name it, as name=value
    intact: bool


def listed(cache: Path) -> list[Cached]:
    """What a folder of caches holds, the most recently used first; folders that are not named like a cache are not."""
    folders = [path for path in cache.glob("*") if path.is_dir()]
    found = [_look(path) for path in folders if (path / MANIFEST).exists() or path.name.startswith(".")]
    return sorted(found, key=lambda item: (item.used, item.folder), reverse=True)


def show(results: Path) -> None:
    """Print a table of what is cached."""
    from rich.table import Table
    from rich.text import Text

    from bench.terminal import terminal

    items = listed(results / CACHE)
    table = Table(title=f"{results / CACHE}: {_size(items)}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("kind", "key", "size", "last used", "made from"):
        table.add_column(column, no_wrap=column != "made from", justify="right" if column == "size" else "left")
    for item in items:
        state = "" if item.intact or item.kind == UNFINISHED else "damaged, is made again when needed "
        used = f"{item.used:%Y-%m-%d %H:%M}"
        table.add_row(item.kind, item.key, _size([item]), used, Text.assemble((state, "red"), item.made_from))
    terminal().print(table)


def clear(results: Path, name: str, confirm: Callable[[str], bool]) -> None:
    """List the folders of the cache that ``name`` selects, ask, and remove them; a comparison makes them again.

    The name is a kind, a key, the name of a folder, or ``all``; ``confirm`` asks a question, true for yes. A name that
    selects nothing, and a comparison that is using the folder, are a ``BenchError``.
    """
    items = listed(results / CACHE)
    chosen = [item for item in items if name in (ALL, item.kind, item.key, item.folder.name)]
    if not chosen:
        known = sorted({item.kind for item in items})
        raise BenchError(
            f"nothing in the cache is called {name!r}{did_you_mean(name, known)}; "
            f"expected {ALL}, a key, or one of the kinds that are there: {', '.join(known) or 'none, it is empty'}"
        )
    with sole_supervisor(results):
        for item in chosen:
            print(f"{item.kind} {item.key} ({_size([item])}): {item.folder}")
        if confirm(f"Remove {len(chosen)} folder{'s' * (len(chosen) > 1)}, {_size(chosen)}?"):
            for item in chosen:
                away = item.folder.with_name(f".{item.folder.name.removeprefix('.')}.cleared")
                item.folder.rename(away)  # in one step, so that a half-removed folder is never taken for a whole one
                shutil.rmtree(away)


def _look(folder: Path) -> Cached:
    manifest = folder / MANIFEST
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.name not in (MANIFEST, FILES)]
    used = datetime.datetime.fromtimestamp((manifest if manifest.exists() else folder).stat().st_mtime)
    made_from = ", ".join(f"{name}={value}" for name, value in _leaves(read_json(manifest) or {}))
    kind, _, key = folder.name.rpartition("-")
    kind = UNFINISHED if kind.startswith(".") else kind
    return Cached(folder, kind, key.partition(".")[0], sum(sizes), used, made_from, intact(folder))


def _leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        yield from _leaves(value) if isinstance(value, dict) else [(name, value)]


def _size(items: Sequence[Cached]) -> str:
    return f"{sum(item.size_bytes for item in items) / 1e6:,.1f} MB"
