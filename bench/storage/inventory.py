"""What the caches hold, and how to be rid of it."""

import datetime
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.errors import BenchError, did_you_mean
from bench.storage.cache import FILES, MANIFEST, intact
from bench.storage.lock import sole_supervisor

CACHE = "cache"  # in the results folder
WIDTH = 132  # of the table where there is no terminal
UNFINISHED = "unfinished"
ALL = "all"


@dataclass(frozen=True)
class Cached:
    """A folder of the cache.

    Attributes:
        folder: where it is.
        kind: what it holds, such as ``dense``; ``unfinished`` if whoever made it did not come to an end.
        size_bytes: of its files.
        used: when a process last asked for it.
        made_from: the settings that name it, as ``name=value``.
        intact: whether all its files are as they were made; damaged ones are made again when they are needed.
    """

    folder: Path
    kind: str
    size_bytes: int
    used: datetime.datetime
    made_from: str
    intact: bool

    @property
    def key(self) -> str:
        """The sixteen digits that name its content."""
        return self.folder.name.rpartition("-")[2].partition(".")[0]


def cached(cache: Path) -> list[Cached]:
    """What a folder of caches holds, what was used last first.

    A folder there that is not named like a cache is left out: it is somebody's own.
    """
    folders = sorted(path for path in cache.glob("*") if path.is_dir()) if cache.is_dir() else []
    found = [_look(folder) for folder in folders if (folder / MANIFEST).exists() or folder.name.startswith(".")]
    return sorted(found, key=lambda item: item.used, reverse=True)


def to_clear(items: list[Cached], name: str) -> list[Cached]:
    """Those of this kind, key or folder name; ``all`` for all.

    Raises:
        BenchError: there is none.
    """
    chosen = [item for item in items if name in (ALL, item.kind, item.key, item.folder.name)]
    if not chosen:
        known = sorted({item.kind for item in items})
        raise BenchError(
            f"nothing in the cache is called {name!r}{did_you_mean(name, known)}; "
            f"expected {ALL}, a key, or one of the kinds that are there: {', '.join(known) or 'none, it is empty'}"
        )
    return chosen


def clear(items: list[Cached]) -> None:
    """Remove these folders; what a run needs of them it makes again.

    Raises:
        OSError: one cannot be removed.
    """
    for item in items:
        away = item.folder.with_name(f".{item.folder.name.removeprefix('.')}.cleared")
        item.folder.rename(away)  # at once, so that a half-removed folder is never taken for a whole one
        shutil.rmtree(away)


def show(results: Path) -> None:
    """Print a table of what is cached."""
    items = cached(results / CACHE)
    table = Table(title=f"{results / CACHE}: {_size(items)}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("kind", "key", "size", "last used", "made from"):
        table.add_column(column, no_wrap=column != "made from", justify="right" if column == "size" else "left")
    for item in items:
        state = "" if item.intact or item.kind == UNFINISHED else "[red]damaged, is made again when needed[/] "
        used = f"{item.used:%Y-%m-%d %H:%M}"
        table.add_row(item.kind, item.key, _size([item]), used, state + escape(item.made_from))
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def sweep(results: Path, name: str, asked: Callable[[str], bool]) -> None:
    """Name what is to be cleared, ask, and clear it.

    Args:
        results: the results folder.
        name: a kind, a key, the name of a folder, or ``all``.
        asked: answers a question with yes or no.

    Raises:
        BenchError: nothing is called that, or a run is using the folder.
    """
    items = to_clear(cached(results / CACHE), name)
    with sole_supervisor(results):
        for item in items:
            print(f"{item.kind} {item.key} ({_size([item])}): {item.folder}")
        if asked(f"Remove {len(items)} folders, {_size(items)}?"):
            clear(items)


def _size(items: list[Cached]) -> str:
    return f"{sum(item.size_bytes for item in items) / 1e6:,.1f} MB"


def _look(folder: Path) -> Cached:
    files = [path for path in folder.rglob("*") if path.is_file()]
    manifest = folder / MANIFEST
    finished = not folder.name.startswith(".")
    return Cached(
        folder,
        folder.name.rpartition("-")[0] if finished else UNFINISHED,
        sum(path.stat().st_size for path in files if path.name not in (MANIFEST, FILES)),
        datetime.datetime.fromtimestamp((manifest if manifest.exists() else folder).stat().st_mtime),
        _made_from(manifest),
        intact(folder),
    )


def _made_from(manifest: Path) -> str:
    try:
        settings: dict[str, Any] = json.loads(manifest.read_text())
    except (OSError, ValueError):
        return ""
    return ", ".join(f"{name}={value}" for name, value in _leaves(settings).items())


def _leaves(settings: dict[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in settings.items():
        leaves |= _leaves(value) if isinstance(value, dict) else {name: value}
    return leaves
