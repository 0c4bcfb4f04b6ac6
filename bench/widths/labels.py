"""Tensors of labels: beside each tensor of a model one of the same shape, which says whose channel an element is."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Labels = NDArray[np.int64]


def all_alike(label: int, shape: Iterable[int]) -> Tensor:
    """The same label for every element of a tensor of this shape."""
    return torch.full((), label).expand(torch.Size(shape))


def along(atoms: Labels, dim: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Labels of a tensor whose channels lie along one dimension, shape ``shape``."""
    view = [1] * len(shape)
    view[dim] = len(atoms)
    return torch.from_numpy(atoms).view(view).expand(shape)


def compact(labels: Tensor, dims: Any = None) -> Tensor:
    """The labels without repetition along the dimensions that were merely expanded."""
    for dim in range(labels.dim()) if dims is None else dims:
        if labels.stride(dim) == 0 and labels.shape[dim] > 1:
            labels = labels.narrow(dim, 0, 1)
    return labels


def is_constant(labels: Tensor, dims: Any) -> bool:
    """Whether labels are the same all along these dimensions."""
    labels = compact(labels)
    return all(labels.shape[dim] == 1 or bool((labels == labels.narrow(dim, 0, 1)).all()) for dim in dims)


def along_dim(labels: Tensor, dim: int) -> Labels:
    """The labels along one dimension, at the first place of all others, (length,)."""
    place: Any = (slice(None), *[0] * (labels.dim() - 1))
    atoms: Labels = labels.movedim(dim, 0)[place].contiguous().numpy()
    return atoms


def per_channel(labels: Tensor) -> Labels:
    """The labels that lie along each place of the axis of channels, (C, n), of labels (B, C, ...)."""
    found: Labels = compact(labels, [0, *range(2, labels.dim())]).movedim(1, 0).flatten(1).numpy()
    return found


def concatenated(labels: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Labels side by side, still without repetition where all of them were merely expanded."""
    labels = [x for x in labels if x.shape != (0,)]  # PyTorch passes over these as well
    rest = [d for d in range(labels[0].dim()) if d != dim % labels[0].dim()]
    expanded = [d for d in rest if all(x.stride(d) == 0 for x in labels)]
    shape = [-1 if d not in rest else labels[0].shape[d] for d in range(labels[0].dim())]
    return torch.cat([compact(x, expanded) for x in labels], dim).expand(shape)


def meetings(entries: Any, features: Any) -> Labels:
    """All pairs of labels that meet, (2, n)."""
    return np.unique(np.stack(np.broadcast_arrays(entries, features)).reshape(2, -1), axis=1)
