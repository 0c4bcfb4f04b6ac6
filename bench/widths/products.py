"""Products: convolutions and matrix products read channels and make new ones; these are what a model costs."""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.widths.atoms import NONE, PINNED
from bench.widths.meeting import (
    along_dim,
    axis_atoms,
    join_vector,
    joined,
    matching_axis,
    pin,
    pin_across_space,
    roots_of,
)
from bench.widths.trace import Product, Tracer, WeightView, along, compact, is_constant


def convolution(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """Reads input channels, makes output channels; groups of channels live and die together."""
    x, weight, bias, transposed, groups = args[0], args[1], args[2], args[6], args[8]
    view, labels = tracer.of(weight), tracer.activation(x)
    if not isinstance(view, WeightView) or (transposed and groups > 1):
        raise BenchError("the width graph knows convolutions with a weight of their own, transposed ones ungrouped")
    rows, columns = (axis_atoms(tracer, view, dim) for dim in (0, 1))
    made, read = (columns, rows) if transposed else (rows, columns)
    pin_across_space(tracer, labels)
    per_channel = compact(labels).flatten(2).movedim(1, 0).flatten(1).numpy()  # (C, n)
    positions = (x if transposed else out).numel() // (x if transposed else out).shape[1]
    unit = positions * prod(weight.shape[2:])
    if groups == 1:
        tracer.trace.atoms.join(per_channel, np.broadcast_to(read[:, None], per_channel.shape))
        tracer.trace.add(Product(unit, view.name, read, made, axis=0 if transposed else 1))
    else:
        for inputs, outputs in zip(np.split(per_channel, groups), np.split(made, groups), strict=True):
            tracer.trace.atoms.join_all(np.concatenate([inputs.ravel(), outputs]))
        tracer.trace.add(Product(unit * weight.shape[1], view.name, np.array([NONE]), made))
    if bias is not None:
        join_vector(tracer, bias, made)
    tracer.label(out, along(made, 1, out.shape))


def product(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """A matrix product, of features with a weight or of features with features."""
    name = func._overloadpacket.__name__
    bias, (left, right) = (args[0], args[1:3]) if name in ("addmm", "baddbmm") else (None, args[:2])
    weights = [isinstance(tracer.of(x), WeightView) for x in (left, right)]
    if sum(weights) == 1 and left.dim() == 2:
        _weight_product(tracer, out, left, right, weight_first=weights[0])
    elif not any(weights):
        _activation_product(tracer, out, left, right)
    else:
        raise BenchError("the width graph does not know a product of two weights")
    if bias is not None:
        made = tracer.activation(out)
        labels = tracer.of(bias)
        labels = matching_axis(tracer, made, labels) if isinstance(labels, WeightView) else labels
        tracer.label(out, joined(tracer, made, labels).expand(out.shape))


def _weight_product(tracer: Tracer, out: Tensor, left: Tensor, right: Tensor, *, weight_first: bool) -> None:
    weight, x = (left, right) if weight_first else (right, left)
    view = tracer.of(weight)
    assert isinstance(view, WeightView)
    inner, outer = (1, 0) if weight_first else (0, 1)
    axis = _axis_of(view, inner, outer)
    read, made = (along_dim(view.labels[a], d) for a, d in ((axis, inner), (1 - axis, outer)))
    labels = tracer.activation(x)
    features = compact(labels if weight_first else labels.t(), [1]).numpy()  # (K, n)
    tracer.trace.atoms.join(features, np.broadcast_to(read[:, None], features.shape))
    tracer.trace.add(Product(x.numel() // len(read), view.name, read, made, axis=axis))
    tracer.label(out, along(made, outer, out.shape))


def _activation_product(tracer: Tracer, out: Tensor, left: Tensor, right: Tensor) -> None:
    """Features times features: attention. What is summed over must belong to one channel, such as a head."""
    a, b = (tracer.activation(x) for x in (left, right))
    a, b = (x if x.dim() == 3 else x[None] for x in (a, b))
    macs = a.shape[1] * a.shape[2] * b.shape[2]
    if is_constant(roots_of(tracer, a), (1, 2)) and is_constant(roots_of(tracer, b), (1, 2)):
        heads = [x[:, 0, 0].contiguous().numpy() for x in (a, b)]
        tracer.trace.atoms.join(*heads)
        made = np.where(heads[0] == NONE, heads[1], heads[0])
        tracer.trace.add(Product(macs, "", np.array([NONE]), made))
        tracer.label(out, along(made, 0, (a.shape[0], a.shape[1], b.shape[2])).reshape(out.shape))
        return
    for labels in (a, b):
        pin(tracer, labels)
    tracer.trace.add(Product(macs, "", np.array([NONE]), np.full(a.shape[0], PINNED)))
    tracer.label(out, torch.full((1,), PINNED).expand(out.shape))


def _axis_of(view: WeightView, inner: int, outer: int) -> int:
    """Which of the two axes of a weight lies along the dimension that is summed over; one entry tells nothing."""
    if len(view.labels) != 2:
        raise BenchError(f"the width graph knows products with matrices, {view.name!r} has {len(view.labels)} axes")
    along_inner, along_outer = view.varying(inner), view.varying(outer)
    if along_inner:
        return along_inner[0]
    return 1 - along_outer[0] if along_outer else 1
