"""The scores of single items on disk, beside the trial that they belong to."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from bench.files import write_whole
from bench.task import ItemScores

_FIELDS = ("scores", "labels", "units")


def save_items(path: Path, items: ItemScores) -> None:
    """Write the scores of items, so that the file is there whole or not at all.

    Scores that are single precision by nature, as networks give them, are kept so: half the bytes, no other number.

    Args:
        path: a name that ends in ``.npz``.
        items: the scores.
    """
    single = items.scores.astype(np.float32)
    arrays = {"scores": single if np.array_equal(single, items.scores) else items.scores, "units": items.units}
    if items.labels is not None:
        arrays["labels"] = items.labels.astype(np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_whole(path, content.getvalue())


def load_items(path: Path) -> ItemScores | None:
    """The scores of items as they were saved, in double precision; None if the file is not there or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            found = {name: file[name] for name in _FIELDS if name in file}
        items = ItemScores(found["scores"].astype(np.float64), found.get("labels"), found["units"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    shapes = {array.shape for array in (items.scores, items.units, items.labels) if array is not None}
    return items if shapes == {(len(items.scores),)} else None
