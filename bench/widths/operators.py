"""What each operator does to the channels of its operands: moves them, joins them, reads them, makes new ones."""

from typing import Any

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.widths.atoms import PINNED
from bench.widths.meeting import axis_atoms, join_vector, joined, matching_axis, pin, pin_across_space, roots_of
from bench.widths.products import convolution, product
from bench.widths.trace import Handler, Tracer, WeightView, along, compact, is_constant

#: operators that only move elements: the labels are moved by the same operator
_MOVES = """
    permute transpose transpose_ t expand squeeze unsqueeze slice select split split_with_sizes unsafe_split
    unsafe_chunk chunk unbind cat stack flip roll repeat clone alias detach lift_fresh index_select index narrow unfold
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d contiguous squeeze_ unsqueeze_ t_ tile
""".split()
_RESHAPES = "view _unsafe_view reshape flatten _reshape_alias".split()
#: results that have nothing to do with channels: sizes, constants
_FRESH = """
    arange zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty
    scalar_tensor rand randn rand_like randn_like bernoulli
""".split()
#: results that depend on all elements along some dimensions, which must therefore be of one channel
_REDUCTIONS = "mean sum amax amin max min std var var_mean prod linalg_vector_norm cumsum argmax any all".split()
_SOFTMAXES = "_softmax _log_softmax _safe_softmax".split()
#: neighbours in space or time are mixed, channel by channel
_SPATIAL = """
    max_pool1d max_pool2d max_pool2d_with_indices max_pool3d avg_pool1d avg_pool2d _adaptive_avg_pool2d
    adaptive_avg_pool1d adaptive_max_pool2d upsample_nearest1d upsample_nearest2d upsample_bilinear2d upsample_linear1d
    constant_pad_nd
""".split()
_NORMS = "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm".split()


def move(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Views, concatenations, copies."""
    first = args[0]
    if isinstance(first, Tensor) and isinstance(view := tracer.of(first), WeightView):
        moved = [_moved(func, label, args[1:], kwargs) for label in view.labels]
        for i, tensor in enumerate(_as_list(out)):
            tracer.label(tensor, WeightView(view.name, [_as_list(m)[i] for m in moved]))
        return
    if isinstance(first, Tensor):
        labels: Any = tracer.activation(first)
    else:
        labels = [tracer.activation(tensor) for tensor in first]
    for tensor, label in zip(_as_list(out), _as_list(_moved(func, labels, args[1:], kwargs)), strict=True):
        tracer.label(tensor, label)


def pointwise(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Elements that meet are of one channel."""
    operands = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
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
    channels = tracer.trace.atoms.roots(compact(labels, [0, *range(2, labels.dim())]).flatten().numpy())
    for vector in args[1:5]:
        if isinstance(vector, Tensor):
            join_vector(tracer, vector, channels)
    tracer.label(out[0], labels)


def layer_norm(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Takes statistics over the channels, which must therefore know which of them are alive."""
    labels, (shape, weight, bias) = tracer.activation(args[0]), args[1:4]
    if is_constant(labels, [labels.dim() - 1]) or len(shape) > 1 or weight is None:
        pin(tracer, labels)
    channels = compact(labels, range(labels.dim() - 1)).reshape(-1, labels.shape[-1])
    for row in channels.numpy():
        tracer.trace.atoms.join(channels[0].numpy(), row)
    for vector in (weight, bias):
        if isinstance(vector, Tensor) and len(shape) == 1:
            join_vector(tracer, vector, channels[0].numpy())
    tracer.trace.norms[tracer.layers[-1][0]] = channels[0].numpy()
    tracer.label(out[0], labels)


def reduction(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """What is summed or averaged must be of one channel; channels that are averaged with others must stay."""
    labels = tracer.activation(args[0])
    given = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = list(range(labels.dim())) if given in (None, []) else [given] if isinstance(given, int) else list(given)
    dims = [dim % labels.dim() for dim in dims]
    roots = roots_of(tracer, labels)
    if not is_constant(roots, dims):
        pin(tracer, labels)
        labels = torch.full((1,), PINNED).expand(labels.shape)
    for result in _as_list(out):
        reduced = labels
        for dim in dims if result.shape != labels.shape else ():
            reduced = reduced.narrow(dim, 0, 1)
        tracer.label(result, reduced.reshape(result.shape) if reduced.shape != result.shape else reduced)


def softmax(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """A missing channel changes all others, unless the sum goes over time."""
    labels = tracer.activation(args[0])
    if not is_constant(roots_of(tracer, labels), [args[1] % labels.dim()]):
        pin(tracer, labels)
    tracer.label(out, labels)


def spatial(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """Pooling, padding and resizing over space or time."""
    labels = tracer.activation(args[0])
    pin_across_space(tracer, labels)
    first = labels[(slice(None), slice(None), *([slice(0, 1)] * (labels.dim() - 2)))]
    for result in _as_list(out):
        if result.shape[:2] != labels.shape[:2]:
            raise BenchError("the width graph does not know padding over channels")
        tracer.label(result, first.expand(result.shape))


def glu(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """The second half gates the first."""
    first, second = tracer.activation(args[0]).chunk(2, args[1] if len(args) > 1 else -1)
    tracer.label(out, joined(tracer, first, second))


def embedding(tracer: Tracer, func: Any, out: Tensor, args: Any, kwargs: Any) -> None:
    """Makes channels: the columns of the table."""
    view = tracer.of(args[0])
    if not isinstance(view, WeightView):
        raise BenchError("the width graph knows embeddings from a table of parameters only")
    tracer.label(out, along(axis_atoms(tracer, view, 1), out.dim() - 1, out.shape))


def fresh(tracer: Tracer, func: Any, out: Any, args: Any, kwargs: Any) -> None:
    """No channels."""


def _moved(func: Any, labels: Any, args: Any, kwargs: Any) -> Any:
    name = func._overloadpacket.__name__
    if name in _RESHAPES:
        return labels.reshape(args[0])
    if name in ("clone", "contiguous", "detach", "alias", "lift_fresh", "_to_copy"):
        return labels
    return func(labels, *args, **kwargs)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys([*_MOVES, *_RESHAPES, "_to_copy"], move),
    **dict.fromkeys(_FRESH, fresh),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(_SOFTMAXES, softmax),
    **dict.fromkeys(_SPATIAL, spatial),
    **dict.fromkeys(_NORMS, batch_norm),
    **dict.fromkeys(["mm", "addmm", "bmm", "baddbmm"], product),
    **dict.fromkeys(["pointwise", "copy_", "native_dropout", "_prelu_kernel", "masked_fill"], pointwise),
    "convolution": convolution,
    "native_layer_norm": layer_norm,
    "glu": glu,
    "embedding": embedding,
}
