"""Generated tissue: what volume electron microscopy of a neuropil looks like, and where its synaptic clefts are.

Lengths are in pixels of 8 nm; a section is 40 nm thick, as of CREMI. A cleft differs from what looks like it by its
company: membranes are thick and dark elsewhere too (junctions, on both sides alike), vesicles gather elsewhere too,
mitochondria and stain are dark. A synapse has vesicles on one side and the density on the other.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

Floats = NDArray[np.float32]
Shape = tuple[int, int, int]

GENERATOR_VERSION = 2  # raise it whenever the same spec gives other volumes
SECTION = 5.0  # thickness
CELL = 42.0  # mean diameter of a neurite
MEMBRANE = 1.1  # standard deviation of the darkness across it
CLEFT = (-4.0, 6.0)  # labelled with the dark lines on both sides, from the cell before to the cell behind
STEEPEST = 1.2  # width of the darkness of a membrane that has a contact: those that lie in the section have none
FEWEST, TRIES = 400, 20  # voxels where the vesicles of a contact lie; draws until one has them
PER_MEGAVOXEL = {"synapse": 50, "junction": 4, "cluster": 12, "silent": 8, "mitochondrion": 20, "stain": 12}


class Cells(NamedTuple):
    """Which cells the voxels (D, H, W) belong to, and how far they are from the membrane to the next one."""

    places: Floats  # (D, H, W, 3), in pixels
    own: NDArray[np.intp]
    other: NDArray[np.intp]  # on the other side of the nearest membrane
    depth: Floats  # distance to that membrane
    width: Floats  # standard deviation of its darkness: the more it leans, the more a section smears it


def make_volume(rng: np.random.Generator, shape: Shape) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grey values and labels of clefts, both (D, H, W)."""
    cells = _cells(rng, shape)
    dark = 0.65 * MEMBRANE / cells.width * np.exp(-0.5 * (cells.depth / cells.width) ** 2)
    dark += rng.normal(0.1, 0.06, 1 + int(cells.own.max()))[cells.own]  # cytoplasm
    clefts = np.zeros(shape, bool)
    counts = {kind: rng.poisson(each * np.prod(shape) / 1e6) for kind, each in PER_MEGAVOXEL.items()}
    counts["synapse"] = max(counts["synapse"], 1)
    _add_mitochondria(rng, cells, dark, counts["mitochondrion"])
    for kind in ("synapse", "junction", "silent"):
        for _ in range(counts[kind]):
            _add_contact(rng, cells, dark, clefts, kind)
    for _ in range(counts["cluster"]):
        centre, own = _draw_voxel(rng, cells, cells.depth > 9)
        _add_vesicles(rng, dark, (cells.own == own) & _within(cells, centre, rng.uniform(9, 16)))
    for _ in range(counts["stain"]):
        centre, _ = _draw_voxel(rng, cells, cells.depth >= 0)
        apart = np.square(cells.places - centre).sum(-1)
        dark += rng.uniform(0.6, 1.2) * np.exp(-0.5 * apart / rng.uniform(1.5, 3.5) ** 2)
    return _recorded(rng, dark, clefts)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]) -> Floats:
    """A random field of zero mean and unit variance."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def _cells(rng: np.random.Generator, shape: Shape) -> Cells:
    """Cells of a Voronoi partition, warped, and stretched along one direction as neurites are."""
    spacing = np.array([SECTION, 1, 1], np.float32)
    places = np.moveaxis(np.indices(shape, dtype=np.float32), 0, -1) * spacing
    warped = places + 5 * np.stack([_smooth(rng, shape, (2.5, 11, 11)) for _ in range(3)], -1)
    along = rng.standard_normal(3)
    along /= np.sqrt(np.square(along).sum())
    margin, extent = 40.0, np.array(shape) * spacing
    count = int(np.prod(extent + 2 * margin) / CELL**3)
    seeds = rng.uniform(-margin, extent + margin, (count, 3))
    squeezed = [p - 0.5 * (p * along).sum(-1, keepdims=True) * along for p in (warped, seeds)]
    distances, nearest = map(np.asarray, KDTree(squeezed[1]).query(squeezed[0], k=2))
    own, other = nearest[..., 0], nearest[..., 1]
    across = squeezed[1][other] - squeezed[1][own]
    apart = np.sqrt(np.square(across).sum(-1))
    depth = (distances[..., 1] ** 2 - distances[..., 0] ** 2) / (2 * apart)
    leaning = across[..., 0] / apart * SECTION / 12**0.5  # standard deviation of the depths that a section shows
    width = np.sqrt(MEMBRANE**2 + leaning**2)
    return Cells(places, own, other, depth.astype(np.float32), width.astype(np.float32))


def _draw_voxel(rng: np.random.Generator, cells: Cells, allowed: NDArray[np.bool_]) -> tuple[Floats, int]:
    """The place of one of the voxels that are allowed, and its cell."""
    at = np.unravel_index(rng.choice(np.flatnonzero(allowed)), allowed.shape)
    return cells.places[at], int(cells.own[at])


def _within(cells: Cells, centre: Floats, radius: float) -> NDArray[np.bool_]:
    return np.asarray(np.square(cells.places - centre).sum(-1) < radius**2)


class Contact(NamedTuple):
    """A disc of the membrane between two cells."""

    disc: NDArray[np.bool_]  # (D, H, W), of both cells and any depth
    behind: Floats  # (D, H, W) distance from the membrane, negative in the cell before it
    pool: NDArray[np.bool_]  # (D, H, W) where vesicles gather, in the cell before it


def _draw_contact(rng: np.random.Generator, cells: Cells) -> Contact:
    """One that shows enough of itself; after some tries, any."""
    for _ in range(TRIES):
        centre, before = _draw_voxel(rng, cells, (cells.depth < 0.7) & (cells.width < STEEPEST))
        after = int(cells.other[tuple(np.argwhere((cells.places == centre).all(-1))[0])])
        sides = [(cells.own == own) & (cells.other == other) for own, other in ((before, after), (after, before))]
        radius = rng.uniform(13, 20)
        disc = (sides[0] | sides[1]) & _within(cells, centre, radius)
        pool = (cells.own == before) & (cells.depth > 3) & (cells.depth < 15) & _within(cells, centre, radius + 5)
        if pool.sum() >= FEWEST and (disc & (cells.depth < CLEFT[1])).sum() >= FEWEST / 4:
            break
    return Contact(disc, np.where(sides[1], cells.depth, -cells.depth), pool)


def _add_contact(rng: np.random.Generator, cells: Cells, dark: Floats, clefts: NDArray[np.bool_], kind: str) -> None:
    """A synapse, a junction, or vesicles at a membrane that is like any other."""
    contact = _draw_contact(rng, cells)
    behind, strength = contact.behind, rng.uniform(1.1, 1.5) * contact.disc
    if kind == "synapse":
        dark *= 1 - 0.9 * contact.disc * np.exp(-((behind / 1.3) ** 2))
        dark += strength * (np.exp(-(((behind - 4) / 2.2) ** 4)) + 0.7 * np.exp(-(((behind + 2.8) / 1.4) ** 4)))
        clefts |= contact.disc & (behind > CLEFT[0]) & (behind < CLEFT[1])
    if kind == "junction":
        dark += 0.5 * strength * np.exp(-((cells.depth / 3) ** 2))
    else:
        _add_vesicles(rng, dark, contact.pool)


def _add_vesicles(rng: np.random.Generator, dark: Floats, pool: NDArray[np.bool_]) -> None:
    """Dark rings with a clear inside, 40 nm across, each in one section."""
    allowed = np.flatnonzero(pool)
    chosen = rng.choice(allowed, min(len(allowed), int(rng.integers(30, 70))), replace=False)
    z, y, x = np.unravel_index(chosen, pool.shape)
    offsets = np.mgrid[-4:5, -4:5].astype(np.float32)
    jitter = rng.uniform(-0.5, 0.5, (len(chosen), 2, 1, 1)).astype(np.float32)
    radius = np.sqrt(np.square(offsets - jitter).sum(1))
    ring = 0.5 * np.exp(-(((radius - 2.3) / 0.9) ** 2)) - 0.1 * (radius < 1.5)
    ring *= rng.uniform(0.5, 1, (len(chosen), 1, 1))
    rows = np.clip(y[:, None, None] + offsets[0].astype(int), 0, pool.shape[1] - 1)
    columns = np.clip(x[:, None, None] + offsets[1].astype(int), 0, pool.shape[2] - 1)
    layer = np.zeros_like(dark)
    np.maximum.at(layer, (z[:, None, None], rows, columns), ring.astype(np.float32))
    dark += layer + 0.15 * pool  # what lies between them is darker, too


def _add_mitochondria(rng: np.random.Generator, cells: Cells, dark: Floats, count: int) -> None:
    """Ellipsoids with a rim and stripes, within their cells."""
    for _ in range(count):
        centre, own = _draw_voxel(rng, cells, cells.depth > 6)
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        sizes = rng.uniform((14, 7, 7), (28, 12, 12))
        apart = cells.places - centre
        across = [(apart * axis).sum(-1) / size for axis, size in zip(axes, sizes, strict=True)]
        level = np.sqrt(sum(np.square(c) for c in across))
        inside = (cells.own == own) & (cells.depth > 2) & (level < 1.15)
        stripes = 0.12 * np.sin(across[0] * sizes[0] * rng.uniform(0.8, 1.3))
        dark += inside * (0.2 + stripes + 0.4 * np.exp(-(((level - 1) / 0.12) ** 2)))


def _recorded(
    rng: np.random.Generator, dark: Floats, clefts: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Sections as a microscope gives them: shifted, some blurred or missing, of drifting contrast, with noise."""
    sections, shape = len(dark), dark.shape
    bright = 0.8 * np.exp(-dark) + 0.04 * _smooth(rng, shape, (1, 40, 40)) + 0.02 * _smooth(rng, shape, (0, 1.2, 1.2))
    gain, level = (np.cumsum(rng.normal(0, 0.02, sections)) for _ in range(2))
    shifts = np.rint(rng.normal(0, 0.4, (sections, 2))).astype(int)
    missing = rng.random(sections) < 0.02
    for z in range(sections):
        bright[z], clefts[z] = (ndimage.shift(own[z], shifts[z], order=0, mode="nearest") for own in (bright, clefts))
        if rng.random() < 0.05:
            bright[z] = ndimage.gaussian_filter(bright[z], rng.uniform(0.8, 1.5))
        bright[z] = (bright[z] - 0.5) * np.exp(gain[z]) + 0.5 + level[z] - level.mean()
    bright += rng.normal(0, 0.03, shape)
    bright[missing] = 0
    return np.clip(np.rint(255 * bright), 0, 255).astype(np.uint8), clefts
