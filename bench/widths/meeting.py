"""What happens to channels where tensors meet: they are joined, found to be bystanders, or pinned."""

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.widths.atoms import NONE, PINNED, Labels
from bench.widths.trace import Tracer, WeightView, compact, is_constant


def joined(tracer: Tracer, left: Tensor, right: Tensor) -> Tensor:
    """Join two tensors of labels element by element, and give the labels of the result."""
    if left is right:
        return left
    left, right = _without_bystander(left, right), _without_bystander(right, left)
    shape = np.broadcast_shapes(left.shape, right.shape)
    a, b = (x.expand(shape) for x in (left, right))
    for dim in range(len(shape)):
        if shape[dim] > 1 and a.stride(dim) == b.stride(dim) == 0:
            a, b = a.narrow(dim, 0, 1), b.narrow(dim, 0, 1)
    tracer.trace.atoms.join(a.contiguous().numpy(), b.contiguous().numpy())
    return torch.where(a == NONE, b, a).expand(shape)


def _without_bystander(labels: Tensor, other: Tensor) -> Tensor:
    """A mask or weight from the input that is the same for all channels pins none of them."""
    if not bool((compact(labels) <= PINNED).all()):
        return labels
    offset = other.dim() - labels.dim()
    for dim in range(other.dim()):
        if is_constant(other, [dim]) or (dim - offset >= 0 and labels.shape[dim - offset] > 1):
            continue
        return torch.full((1,), NONE).expand(labels.shape)
    return labels


def matching_axis(tracer: Tracer, labels: Tensor | None, view: WeightView) -> Tensor:
    """The axis of a parameter whose entries meet one channel each; the others have nothing to do with channels."""
    varying = [label for label in view.labels if not is_constant(label, range(label.dim()))]
    if len(varying) == 1:
        return varying[0]
    if labels is None:
        raise BenchError(f"the width graph cannot tell which axis of {view.name!r} are its channels")
    for label in varying:
        one, other = (compact(x).numpy() for x in (label, roots_of(tracer, labels)))
        pairs = np.unique(np.stack(np.broadcast_arrays(one, other)).reshape(2, -1), axis=1)
        if len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]:
            return label
    return torch.full((1,), NONE).expand(view.labels[0].shape)


def axis_atoms(tracer: Tracer, view: WeightView, dim: int) -> Labels:
    """The channels of an axis of a weight that is seen whole."""
    return along_dim(view.labels[dim], dim)


def along_dim(labels: Tensor, dim: int) -> Labels:
    """The labels along one dimension, at the first place of all others, (length,)."""
    atoms: Labels = labels.movedim(dim, 0).flatten(1)[:, 0].contiguous().numpy() if labels.dim() > 1 else labels.numpy()
    return atoms


def join_vector(tracer: Tracer, vector: Tensor, channels: Labels) -> None:
    """A vector with one entry a channel belongs to these channels."""
    view = tracer.of(vector)
    labels = view.labels[0] if isinstance(view, WeightView) else view
    tracer.trace.atoms.join(labels.contiguous().numpy(), channels)


def pin_across_space(tracer: Tracer, labels: Tensor) -> None:
    """Pin the channels that also lie along space or time, where neighbours are mixed."""
    if not is_constant(labels, range(2, labels.dim())):
        roots = roots_of(tracer, labels)
        if not is_constant(roots, range(2, labels.dim())):
            pin(tracer, labels)


def roots_of(tracer: Tracer, labels: Tensor) -> Tensor:
    """Labels with each channel replaced by the representative of its set."""
    small = compact(labels)
    return torch.from_numpy(tracer.trace.atoms.roots(small.contiguous().numpy())).view(small.shape).expand(labels.shape)


def pin(tracer: Tracer, labels: Tensor) -> None:
    """All these channels must stay."""
    tracer.trace.atoms.pin(compact(labels).contiguous().numpy())
