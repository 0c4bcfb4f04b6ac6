"""What a trial leaves on disk: the names of its files, its record, the scores of single items."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.plugins.task import ItemScores
from bench.storage.files import file_digest, read_json, write_whole

RECORD = "trial.json"
TRAINED = "trained.json"
MODEL = "model.onnx"
OUTPUTS = "outputs.safetensors"


EVAL = "eval.json"
EVAL_ITEMS = "eval_items.npz"
LATENCY = "latency.json"
TRACKED = "tracked.json"


def trial_folder(comparison: Path, key: str) -> Path:
    """Where a comparison keeps the files of a trial."""
    return comparison / "trials" / key


def read_record(files: Path) -> dict[str, Any]:
    """The record of a trial; one that is gone counts as failed."""
    return read_json(files / RECORD) or {"status": "failed", "reason": "its record is missing or damaged"}


def finished_record(files: Path) -> dict[str, Any] | None:
    """The record of a trial that need not be run again; None also for one that the machine failed, not the method."""
    record = read_json(files / RECORD)
    if record is None or record.get("retry"):
        return None
    return record if record["status"] in ("failed", "declined") or _undamaged(files, record) else None


def _undamaged(files: Path, record: Mapping[str, Any]) -> bool:
    """Whether the files of a trial are there as its record names them.

    Ten thousand models are too many to read at every start, so that digests are compared where a file has changed
    later than the record alone; chosen models are compared in any case, before they are read on eval.
    """
    try:
        recorded = (files / RECORD).stat().st_ctime_ns
        changed = [name for name in record["files"] if (files / name).stat().st_ctime_ns > recorded]
        return all(file_digest(files / name) == record["files"][name] for name in changed)
    except (OSError, KeyError):
        return False


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
