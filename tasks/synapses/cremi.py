"""CREMI's files, as https://cremi.org distributes them: HDF5 with grey values, and labels of synaptic clefts.

``volumes/raw`` holds bytes (sections, rows, columns), ``volumes/labels/clefts`` unsigned integers of 64 bits with the
largest one where there is no cleft. Both say what their voxels measure in the attribute ``resolution``, in nm; in the
padded files labels have an ``offset`` in nm, and cover the middle of the grey values only.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import BenchError, Split
from tasks.synapses.tissue import Shape
from tasks.synapses.volumes import Volume, save

GREY, CLEFTS = "volumes/raw", "volumes/labels/clefts"
NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)
SUFFIXES = (".hdf", ".h5", ".hdf5")
GAP = 2  # sections between the splits of a file, which belong to none
PARTS: dict[Split, tuple[float, float]] = {"train": (0, 0.6), "dev": (0.6, 0.75), "eval": (0.75, 1)}  # of the sections
ROUNDED = 1e-3  # nm


@dataclass(frozen=True)
class Cremi:
    """Files of one folder, each of which is divided by its sections into train, dev and eval.

    Attributes:
        data: a file, or a folder of files.
        voxel_nm: thickness of a section, height and width of a pixel; finer voxels are binned.
        crop: the fewest voxels that each part of a file must have along each axis.
    """

    data: Path
    voxel_nm: tuple[float, float, float]
    crop: Shape

    @cached_property
    def files(self) -> list[Path]:
        """All files, by name."""
        if self.data.is_file():
            return [self.data]
        if not self.data.is_dir():
            raise BenchError(f"{self.data} does not exist: expected a file of CREMI's, or a folder of them.")
        found = sorted(path for path in self.data.iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            raise BenchError(f"{self.data} has no files *.hdf: expected CREMI's, such as sample_A_20160501.hdf.")
        return found

    def check(self) -> None:
        """Every file is HDF5 with both volumes, of voxels that go into ours, and large enough for crops."""
        for path in self.files:
            for split in PARTS:
                self._slices(path, split)

    def identity(self) -> dict[str, Any]:
        """What names them: names, sizes and times of the files, which are not opened."""
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        digest = hashlib.sha256(repr(states).encode()).hexdigest()[:32]
        return {"files": "CREMI layout", "digest": digest, "voxel_nm": self.voxel_nm, "crop": self.crop}

    def parts(self, split: Split) -> list[str]:
        """The names of the sections of a split."""
        named = []
        for path in self.files:
            z = self._slices(path, split)[0]
            named += [f"{path.name} {section}" for section in range(z.start, z.stop)]
        return named

    def write(self, folder: Path, workers: int, progress: Callable[[float], None]) -> None:
        """The parts of all files, binned."""
        jobs = [(split, number, path) for split in PARTS for number, path in enumerate(self.files)]
        for done, (split, number, path) in enumerate(jobs, start=1):
            save(folder, split, number, self._read(path, split))
            progress(done / len(jobs))

    def _read(self, path: Path, split: Split) -> Volume:
        at, (factors, shift) = self._slices(path, split), self._geometry(path)
        with _opened(path) as (grey, clefts):
            moved = tuple(slice(s.start + o, s.stop + o) for s, o in zip(at, shift, strict=True))
            values, labelled = grey[moved], clefts[at].astype(np.uint64) != NOTHING
        blocks = [n for own, f in zip(values.shape, factors, strict=True) for n in (own // f, f)]
        means = values.reshape(blocks).mean((1, 3, 5), dtype=np.float32)
        return Volume(np.rint(means).astype(np.uint8), labelled.reshape(blocks).any((1, 3, 5)))

    def _slices(self, path: Path, split: Split) -> tuple[slice, slice, slice]:
        """The voxels of a split in the labels of a file: a whole number of ours, at least a crop."""
        factors, _ = self._geometry(path)
        with _opened(path) as (_, clefts):
            lengths = clefts.shape
        low, high = (round(share * lengths[0]) for share in PARTS[split])
        starts = (low + GAP * (low > 0), 0, 0)
        counts = [(end - a) // f for a, end, f in zip(starts, (high, *lengths[1:]), factors, strict=True)]
        if any(count < least for count, least in zip(counts, self.crop, strict=True)):
            found, least = (" x ".join(map(str, own)) for own in (counts, self.crop))
            raise BenchError(
                f"{path} has {found} voxels of {_nm(self.voxel_nm)} in {split}, fewer than the crop's {least}: "
                "set crop to fewer, or voxel_nm to smaller ones."
            )
        z, y, x = (slice(a, a + n * f) for a, n, f in zip(starts, counts, factors, strict=True))
        return z, y, x

    def _geometry(self, path: Path) -> tuple[Shape, Shape]:
        """How many voxels of a file make one of ours along each axis, and where its labels begin in its grey values."""
        with _opened(path) as (grey, clefts):
            resolution = _attribute(path, clefts, "resolution")
            offset = _attribute(path, clefts, "offset", (0.0, 0.0, 0.0))
            shapes = grey.shape, clefts.shape
        factors = [own / theirs for own, theirs in zip(self.voxel_nm, resolution, strict=True)]
        if any(factor < 1 - ROUNDED or abs(factor - round(factor)) > ROUNDED for factor in factors):
            raise BenchError(
                f"{path} has voxels of {_nm(resolution)}, which do not fill those of {_nm(self.voxel_nm)}: expected "
                "whole multiples along each axis; set voxel_nm to (section, row, column) in nm."
            )
        shift = [round(far / theirs) for far, theirs in zip(offset, resolution, strict=True)]
        if any(a < 0 or a + n > whole for a, n, whole in zip(shift, shapes[1], shapes[0], strict=True)):
            raise BenchError(
                f"{path}: its labels {shapes[1]} at {tuple(shift)} lie outside its grey values {shapes[0]}."
            )
        (a, b, c), (z, y, x) = map(round, factors), shift
        return (a, b, c), (z, y, x)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Grey values and labels of a file, both (sections, rows, columns), read as they are indexed."""
    import h5py  # of real data alone

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read as HDF5 ({error}): expected a file of CREMI's; download it again."
        ) from None
    with file:
        for name in (GREY, CLEFTS):
            if not isinstance(file.get(name), h5py.Dataset) or file[name].ndim != 3:
                has = "no labels of clefts" if name == CLEFTS else "no grey values"
                raise BenchError(
                    f"{path} has {has}: expected the dataset {name} of three axes, as CREMI's training files have it."
                )
        if file[GREY].dtype != np.uint8:
            raise BenchError(f"{path}: {GREY} holds numbers of type {file[GREY].dtype}: expected bytes (uint8).")
        yield file[GREY], file[CLEFTS]


def _attribute(path: Path, dataset: Any, name: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
    """Three numbers in nm that a dataset says about itself."""
    given = dataset.attrs.get(name, default)
    values = tuple(float(value) for value in np.ravel(given)) if given is not None else ()
    if len(values) != 3 or not np.isfinite(values).all() or (name == "resolution" and min(values) <= 0):
        raise BenchError(f"{path}: {dataset.name} has the attribute {name} = {given!r}, expected three numbers in nm.")
    return values


def _nm(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:g}" for length in lengths) + " nm"
