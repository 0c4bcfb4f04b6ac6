"""Folders named by the content that made them: what was made once from the same settings is not made again.

A folder holds ``made_from.json``, the settings that name it, and ``files.json``, what each of its files was when it was
made. A folder is looked through whenever a process first asks for it: sizes and times of all files, which takes
milliseconds, and the digest of every file whose times are not those that were noted, as after a copy or whenever a
program has written to it. What has changed is made again. Only decay of the disk itself, which leaves all times
alone, passes unseen.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.storage.files import file_digest, flush, write_whole

MANIFEST = "made_from.json"
FILES = "files.json"

#: what is noted of a file: size in bytes, modification and change time in ns, digest
Note = list[Any]

_looked_through: set[Path] = set()


def content_key(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that name ``settings`` (JSON-serialisable), whatever the order of its keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_folder(root: Path, name: str, settings: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder ``root/name-<key>``, built by ``build(folder)`` unless it is already there and undamaged.

    It is built under another name and moved into place, so that a folder which exists is complete. Of two
    processes that build the same folder the first to finish wins; the other one's copy is thrown away.
    """
    folder = root / f"{name}-{content_key(settings)}"
    if folder in _looked_through and (folder / MANIFEST).is_file():
        return folder
    if intact(folder):
        with suppress(OSError):
            os.utime(folder / MANIFEST)  # when it was used last
    else:
        root.mkdir(parents=True, exist_ok=True)
        _discard(folder)
        _build(folder, settings, build)
    _looked_through.add(folder)
    return folder


def folder_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits that name what is in a cached folder: the names and the content of its files.

    They are the same for the same content wherever it lies, whenever and from whatever settings it was made. The files
    themselves are not read again; :func:`cached_folder` has looked through them.
    """
    notes: dict[str, Note] = json.loads((folder / FILES).read_text())
    return content_key({name: note[3] for name, note in notes.items()})


def intact(folder: Path) -> bool:
    """Whether a cached folder is there, with all its files as they were made."""
    try:
        settings = json.loads((folder / MANIFEST).read_text())
        notes: dict[str, Note] = json.loads((folder / FILES).read_text())
        if folder.name.rpartition("-")[2] != content_key(settings):
            return False
        found = {name: _note(folder / name, digest=None) for name in notes}
        changed = [name for name, note in found.items() if note[:3] != notes[name][:3]]
        for name in changed:
            found[name] = _note(folder / name, digest=file_digest(folder / name))
            if found[name][::3] != notes[name][::3]:  # size and digest; the times may differ
                return False
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    if changed:
        with suppress(OSError):  # a cache that others own is checked every time
            write_whole(folder / FILES, json.dumps({**notes, **{name: found[name] for name in changed}}))
    return True


def abandoned(draft: Path) -> bool:
    """Whether a draft, which is named ``.<folder>.<host>.<pid>``, was left by a process of this machine that died."""
    host, _, pid = draft.name.rpartition(".")
    if not host.endswith(f".{socket.gethostname()}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()


def _build(folder: Path, settings: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    for draft in folder.parent.glob(f".{folder.name}.*"):
        if abandoned(draft):
            shutil.rmtree(draft, ignore_errors=True)
    draft = folder.parent / f".{folder.name}.{socket.gethostname()}.{os.getpid()}"
    draft.mkdir()
    try:
        build(draft)
        made = sorted(path for path in draft.rglob("*") if path.is_file())
        for path in made:
            flush(path)
        notes = {str(path.relative_to(draft)): _note(path, digest=file_digest(path)) for path in made}
        write_whole(draft / FILES, json.dumps(notes))
        write_whole(draft / MANIFEST, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
        flush(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _note(path: Path, *, digest: str | None) -> Note:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest]


def _discard(folder: Path) -> None:
    """Move a damaged folder away; whoever has its files open keeps them."""
    if not folder.exists():
        return
    with _alone(folder.parent):
        if intact(folder):  # another process has seen the damage as well, and was faster
            return
        away = folder.parent / f".{folder.name}.{socket.gethostname()}.{os.getpid()}"
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One process at a time, of those that find damage in caches."""
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
