"""Folders named by the content that made them: what was made once from the same settings is not made again."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "made_from.json"


def content_key(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that name ``settings`` (JSON-serialisable), whatever the order of its keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_folder(root: Path, name: str, settings: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder ``root/name-<key>``, built by ``build(folder)`` unless it is already there.

    It is built under another name and moved into place, so that a folder which exists is complete. Of two
    processes that build the same folder the first to finish wins; the other one's copy is thrown away.
    """
    folder = root / f"{name}-{content_key(settings)}"
    if (folder / MANIFEST).is_file():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        build(draft)
        (draft / MANIFEST).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
