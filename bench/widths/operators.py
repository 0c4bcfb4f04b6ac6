"""What each operator does to the channels of its operands: moves them, joins them, reads them, makes new ones."""

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.widths.labels import (
    Labels,
    all_alike,
    along,
    along_dim,
    compact,
    concatenated,
    is_constant,
    meetings,
    per_channel,
)
from bench.widths.trace import NONE, PINNED, Handler, Tracer, WeightView


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
        if not is_constant(other, [dim]) and (dim < offset or labels.shape[dim - offset] == 1):
            return all_alike(NONE, labels.shape)
    return labels


def matching_axis(tracer: Tracer, labels: Tensor | None, view: WeightView) -> Tensor:
    """The axis of a parameter whose entries meet one channel each; the others have nothing to do with channels.

    Where an entry meets several, it goes with them only if they turn out to be one in the end: a rotation of all heads
    alike stays when a head goes, a position's embedding follows a stream that began as two.
    """
    varying = [label for label in view.labels if not is_constant(label, range(label.dim()))]
    if not varying or (labels is not None and bool((compact(labels) > NONE).any())):
        features = None if labels is None else compact(roots_of(tracer, labels)).numpy()
        for label in varying:
            pairs = meetings(compact(label).numpy(), features)
            if len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]:
                return label
            tracer.trace.shared.append(pairs)
        return all_alike(NONE, view.labels[0].shape)
    if len(varying) > 1:
        raise BenchError(f"the width graph cannot tell which axis of {view.name!r} are its channels")
    return varying[0]


def join_vectors(tracer: Tracer, vectors: Iterable[Any], channels: Labels) -> None:
    """Vectors with one entry a channel belong to channels, (C, n); what is no tensor is passed over."""
    for vector in vectors:
        if isinstance(vector, Tensor):
            view = tracer.of(vector)
            if isinstance(view, WeightView) and len(view.varying(0)) > 1:
                raise BenchError(f"the width graph cannot follow a weight that is made of {view.name!r}")
            labels = view.labels[0] if isinstance(view, WeightView) else view
            tracer.trace.atoms.join(np.broadcast_to(labels.contiguous().numpy()[:, None], channels.shape), channels)


def pin_across_space(tracer: Tracer, labels: Tensor) -> None:
    """Pin the channels that also lie along space or time, where neighbours are mixed."""
    space = range(2, labels.dim())
    if not is_constant(labels, space) and not is_constant(roots_of(tracer, labels), space):
        pin(tracer, labels)


def roots_of(tracer: Tracer, labels: Tensor) -> Tensor:
    """Labels with each channel replaced by the representative of its set."""
    small = compact(labels)
    return torch.from_numpy(tracer.trace.atoms.roots(small.contiguous().numpy())).view(small.shape).expand(labels.shape)


def pin(tracer: Tracer, labels: Tensor) -> None:
    """All these channels must stay."""
    tracer.trace.atoms.pin(compact(labels).contiguous().numpy())


def note(tracer: Tracer, unit: int, weight: str, read: Labels, made: Labels, *, axis: int) -> None:
    """Note a product with a weight; what it reads must stay where its layer is not called, for a gate is put there."""
    owner = weight.rpartition(".")[0]
    if not any(layer.name == owner for layer in tracer.layers):
        tracer.trace.atoms.cause += f", which takes the weight of {owner!r} without calling it"
        tracer.trace.atoms.pin(read)
    tracer.trace.add(unit, weight, read, made, axis=axis)


def convolution(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """Reads input channels, makes output channels; groups of channels live and die together."""
    x, weight, bias, transposed, groups = args[0], args[1], args[2], args[6], args[8]
    view, labels = tracer.of(weight), tracer.activation(x)
    if not isinstance(view, WeightView) or (transposed and groups > 1):
        raise BenchError("the width graph knows convolutions with a weight of their own, transposed ones ungrouped")
    rows, columns = (along_dim(view.labels[dim], dim) for dim in (0, 1))
    made, read = (columns, rows) if transposed else (rows, columns)
    pin_across_space(tracer, labels)
    features = per_channel(labels)
    positions = (x if transposed else out).numel() // (x if transposed else out).shape[1]
    unit = positions * prod(weight.shape[2:])
    if groups == 1:
        tracer.trace.atoms.join(features, np.broadcast_to(read[:, None], features.shape))
        note(tracer, unit, view.name, read, made, axis=0 if transposed else 1)
    else:
        for inputs, outputs in zip(np.split(features, groups), np.split(made, groups), strict=True):
            tracer.trace.atoms.join_all(np.concatenate([inputs.ravel(), outputs]))
        tracer.trace.add(unit * weight.shape[1], view.name, np.array([NONE]), made)
    join_vectors(tracer, [bias], made[:, None])
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
    note(tracer, x.numel() // len(read), view.name, read, made, axis=axis)
    tracer.label(out, along(made, outer, out.shape))


def _activation_product(tracer: Tracer, out: Tensor, left: Tensor, right: Tensor) -> None:
    """Features times features: attention. All that is summed over, such as a head, is one channel."""
    a, b = (tracer.activation(x) for x in (left, right))
    a, b = (x if x.dim() == 3 else x[None] for x in (a, b))
    macs = a.shape[1] * a.shape[2] * b.shape[2]
    per_entry = [compact(x, (1, 2)).flatten(1).numpy() for x in (a, b)]  # (n, ...)
    made = np.zeros(len(a), dtype=np.int64)
    for entry, summed in enumerate(zip(*per_entry, strict=True)):
        channels = np.unique(np.concatenate(summed))
        tracer.trace.atoms.join_all(channels)
        made[entry] = next(iter(channels[channels != NONE]), NONE)
    tracer.trace.add(macs, "", np.array([NONE]), made)
    tracer.label(out, along(made, 0, (a.shape[0], a.shape[1], b.shape[2])).reshape(out.shape))


def _axis_of(view: WeightView, inner: int, outer: int) -> int:
    """Which of the two axes of a weight lies along the dimension that is summed over; one entry tells nothing."""
    if len(view.labels) != 2:
        raise BenchError(f"the width graph knows products with matrices, {view.name!r} has {len(view.labels)} axes")
    along_inner, along_outer = view.varying(inner), view.varying(outer)
    return along_inner[0] if along_inner else 1 - along_outer[0] if along_outer else 1


#: operators that only move elements: the labels are moved by the same operator
_MOVES = """
    permute transpose transpose_ t t_ expand squeeze squeeze_ unsqueeze unsqueeze_ slice select split split_with_sizes
    unsafe_split unbind cat flip roll repeat alias index_select index unfold reflection_pad1d reflection_pad2d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d pixel_unshuffle
""".split()
_RESHAPES = "view _unsafe_view".split()
_COPIES = "clone detach lift_fresh _to_copy as_strided_".split()  # the last one after pooling to one element
#: results that have nothing to do with the channels of the operands
_FRESH = """
    zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty bernoulli
""".split()
#: neighbours in space or time are mixed, channel by channel
_SPATIAL = """
    max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d
    upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d constant_pad_nd
""".split()
_NORMS = "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm".split()


def move(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Views, concatenations, copies."""
    first = args[0]
    views = [view for x in _as_list(first) if isinstance(view := tracer.of(x), WeightView)]
    if len(views) == len(_as_list(first)) and len({view.name for view in views}) == 1:
        axes = views[0].labels if isinstance(first, Tensor) else zip(*(view.labels for view in views), strict=True)
        by_axis = [_as_list(_moved(func, labels, args[1:], kwargs)) for labels in axes]
        moved: list[Any] = [WeightView(views[0].name, list(labels)) for labels in zip(*by_axis, strict=True)]
    else:
        labels: Any = tracer.activation(first) if isinstance(first, Tensor) else [tracer.activation(x) for x in first]
        moved = _as_list(_moved(func, labels, args[1:], kwargs))
        if func._overloadpacket.__name__ == "split" and len({part.shape for part in moved}) == 1:
            for part in moved[1:]:  # parts of one length stay so: an entry goes from all of them, or from none
                joined(tracer, moved[0], part)
    for tensor, label in zip(_as_list(out), moved, strict=True):
        tracer.label(tensor, label)


def pointwise(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Elements that meet are of one channel."""
    operands = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    operands.sort(key=lambda x: isinstance(tracer.of(x), WeightView))  # features say which axis of a weight is theirs
    views = [view for x in operands if isinstance(view := tracer.of(x), WeightView)]
    if len(views) == 1 and all(bool((compact(tracer.activation(x)) == NONE).all()) for x in operands[:-1]):
        tracer.label(out, WeightView(views[0].name, [label.expand(out.shape) for label in views[0].labels]))
        return  # a table that is computed from a parameter is one itself
    labels = None
    for operand in operands:
        new = tracer.of(operand)
        if isinstance(new, WeightView):
            new = matching_axis(tracer, labels, new)
        labels = new if labels is None else joined(tracer, labels, new)
    if labels is not None:
        tracer.label(out, labels.expand(out.shape))


def batch_norm(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Scales and shifts each channel by itself."""
    labels = tracer.activation(args[0])
    pin_across_space(tracer, labels)
    join_vectors(tracer, args[1:5], per_channel(labels))
    tracer.label(out[0], labels)


def layer_norm(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Takes statistics over the channels, which must therefore know which of them are alive."""
    labels, (shape, weight, bias) = tracer.activation(args[0]), args[1:4]
    if is_constant(labels, [labels.dim() - 1]) or len(shape) > 1 or weight is None:
        pin(tracer, labels)
    channels = compact(labels, range(labels.dim() - 1)).reshape(-1, labels.shape[-1])
    for row in channels.numpy():
        tracer.trace.atoms.join(channels[0].numpy(), row)
    if len(shape) == 1:
        join_vectors(tracer, (weight, bias), channels[:1].t().numpy())
    layer = tracer.layers[-1]
    axes = [d for x in layer.inputs[:1] for d in range(x.dim()) if not is_constant(tracer.activation(x), [d])]
    tracer.trace.norms[layer.name] = axes[-1] if axes else -1
    tracer.label(out[0], labels)


def group_norm(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Takes statistics over groups of channels, of which each is therefore one channel."""
    labels, groups = tracer.activation(args[0]), args[6]
    pin_across_space(tracer, labels)
    channels = per_channel(labels)
    if groups == 1 or args[1] is None:  # other statistics of what is left; nothing says how many groups are left
        pin(tracer, labels)
    for group in np.split(channels, groups):
        tracer.trace.atoms.join_all(group.ravel())
    join_vectors(tracer, args[1:3], channels)
    tracer.label(out[0], labels)


def reduction(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Sums, means, softmaxes: channels that are mixed with others must stay."""
    labels = tracer.activation(args[0])
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}.get("dim")
    dims = list(range(labels.dim())) if given in (None, []) else [given] if isinstance(given, int) else given
    if not is_constant(roots_of(tracer, labels), [dim % labels.dim() for dim in dims]):
        pin(tracer, labels)
        labels = all_alike(PINNED, labels.shape)
    for result in _as_list(out):
        reduced = labels
        for dim in dims if result.shape != labels.shape else ():
            reduced = reduced.narrow(dim, 0, 1)
        tracer.label(result, reduced.reshape(result.shape))


def spatial(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Pooling, padding and resizing over space or time."""
    labels = tracer.activation(args[0])
    pin_across_space(tracer, labels)
    first = labels[(slice(None), slice(None), *([slice(0, 1)] * (labels.dim() - 2)))]
    for result in _as_list(out):
        if result.shape[:2] != labels.shape[:2]:
            raise BenchError("the width graph does not know padding over channels")
        tracer.label(result, first.expand(result.shape))


def pixel_shuffle(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """Spreads blocks of channels over space, each of which is therefore one channel."""
    pin_across_space(tracer, labels := tracer.activation(args[0]))
    blocks = per_channel(labels).reshape(out.shape[1], -1)
    for block in blocks:
        tracer.trace.atoms.join_all(block)
    tracer.label(out, along(blocks[:, 0], 1, out.shape))


def embedding(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """Makes channels: the columns of the table."""
    view = tracer.of(args[0])
    if not isinstance(view, WeightView):
        raise BenchError("the width graph knows embeddings from a table of parameters only")
    tracer.label(out, along(along_dim(view.labels[1], 1), out.dim() - 1, out.shape))


def _moved(func: Any, labels: Any, args: Any, kwargs: Any) -> Any:
    name = func._overloadpacket.__name__
    if name in _COPIES or name == "cat":
        return labels if name in _COPIES else concatenated(labels, *args, **kwargs)
    return labels.reshape(args[0]) if name in _RESHAPES else func(labels, *args, **kwargs)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


#: by name of the operator, or of a tag that PyTorch gives it
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys([*_MOVES, *_RESHAPES, *_COPIES], move),
    **dict.fromkeys(_FRESH, lambda *_: None),
    **dict.fromkeys(["reduction", "cumsum", "_softmax"], reduction),
    **dict.fromkeys(_SPATIAL, spatial),
    **dict.fromkeys(_NORMS, batch_norm),
    **dict.fromkeys(["mm", "addmm", "bmm", "baddbmm"], product),
    **dict.fromkeys(["pointwise", "copy_"], pointwise),
    "convolution": convolution,
    "native_layer_norm": layer_norm,
    "pixel_shuffle": pixel_shuffle,
    "native_group_norm": group_norm,
    "embedding": embedding,
}
