"""Files that are there whole or not at all, whenever the process is killed or the power goes."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as ``write_whole`` does."""
    write_whole(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all, after a power cut too.

    Raises:
        OSError: the disk is full, the folder is gone or read-only; what was there before is untouched.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        flush(draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    flush(path.parent)  # a rename that is not on disk is undone by a power cut, and a finished trial with it


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file, or None if it is not there or damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
