"""CREMI's files as they are distributed, tiny: what is read, how it is divided, and what is wrong with others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from bench import BenchError  # noqa: E402
from bench.check.task import require_disjoint  # noqa: E402
from tasks.synapses import Synapses  # noqa: E402
from tasks.synapses.cremi import CLEFTS, GREY, NOTHING  # noqa: E402

SHAPE = (40, 40, 36)
FIELDS = {"size": "tiny", "crop": (4, 16, 16)}


def write_sample(path: Path, offset: tuple[int, int, int] | None = None, nm: tuple[float, ...] = (40, 4, 4)) -> Path:
    """A file whose clefts are its bright voxels; padded with others if labels have an offset, in voxels."""
    grey = np.random.default_rng(0).integers(0, 100, SHAPE, np.uint8)
    labels = np.full(SHAPE, NOTHING)
    for number, z in enumerate(range(0, SHAPE[0], 4)):
        labels[z, 4:10, 6:18], grey[z, 4:10, 6:18] = number, 250
    with h5py.File(path, "w") as file:
        padded = grey if offset is None else np.pad(grey, [(n, n) for n in offset], constant_values=255)
        for name, values in ((GREY, padded), (CLEFTS, labels)):
            file.create_dataset(name, data=values, compression="gzip").attrs["resolution"] = nm
        if offset is not None:
            file[CLEFTS].attrs["offset"] = [n * own for n, own in zip(offset, nm, strict=True)]
    return path


def task_of(data: Path, **fields: Any) -> Synapses:
    return Synapses.at("smoke", data=str(data), **{**FIELDS, "cache": data.parent / "cache", **fields})


@pytest.mark.parametrize("offset", [None, (2, 5, 6)])
def test_a_folder_of_samples_is_divided_binned_and_scored(tmp_path: Path, offset: tuple[int, int, int] | None) -> None:
    folder = tmp_path / "cremi"
    folder.mkdir()
    for name in ("sample_A_20160501.hdf", "sample_B_20160501.hdf"):
        write_sample(folder / name, offset)
    task = task_of(folder)
    task.check()
    assert task.prepare(2, lambda fraction, note: None) == task_of(folder).prepare(1, lambda fraction, note: None)
    assert require_disjoint(task) == ["sections"]
    shapes = {split: [v.clefts.shape for v in task._volumes(split)] for split in ("train", "dev", "eval")}
    assert shapes == {"train": [(24, 20, 18)] * 2, "dev": [(4, 20, 18)] * 2, "eval": [(8, 20, 18)] * 2}
    for volume in task._volumes("train"):
        assert np.array_equal(volume.clefts, volume.grey > 200)
        assert volume.clefts[0, 2:5, 3:9].all() and volume.clefts.sum() == 6 * 18
    scores = task.evaluate(lambda x: x, "eval")
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))
    assert task.corpora() == [folder]


def broken(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_sample(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def replaced(name: str, values: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file[name] = values
        file[name].attrs["resolution"] = (40, 4, 4)

    return change


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"no HDF5" * 99), "cannot be read as HDF5"),
        (lambda path: path.write_bytes(b""), "cannot be read as HDF5"),
        (broken(lambda file: file.__delitem__(CLEFTS)), "has no labels of clefts: expected the dataset volumes/labels"),
        (broken(lambda file: file.__delitem__("volumes/labels")), "has no labels of clefts"),
        (broken(lambda file: file.__delitem__(GREY)), "has no grey values: expected the dataset volumes/raw"),
        (broken(replaced(GREY, np.zeros(SHAPE, np.float32))), "volumes/raw holds numbers of type float32"),
        (broken(replaced(GREY, np.zeros((40, 40), np.uint8))), "has no grey values.*of three axes"),
        (broken(replaced(CLEFTS, np.zeros((40, 50, 50), np.uint64))), "its labels .* lie outside its grey values"),
        (broken(lambda file: file[CLEFTS].attrs.__delitem__("resolution")), "resolution = None, expected three"),
        (lambda path: write_sample(path, nm=(40, 6, 6)), "voxels of 40 x 6 x 6 nm, which do not fill those of 40 x 8"),
        (lambda path: write_sample(path, nm=(20, 4, 4)), "has 2 x 20 x 18 voxels of .* nm in dev, .* 4 x 16 x 16"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_the_file(
    tmp_path: Path, write: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / "sample_A.hdf"
    write(path)
    with pytest.raises(BenchError, match=message) as caught:
        task_of(path).check()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"has no files \*.hdf: expected CREMI's"):
        task_of(tmp_path).check()
