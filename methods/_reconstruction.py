"""Rounding the weights of a layer so that what it makes of its inputs changes least, not the weights themselves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn.functional import pad

from bench import Batch, OnnxModel

Array = np.ndarray[Any, Any]
DAMPING = 0.01  # of the mean of the diagonal, added to it (GPTQ, section 3.3)
SWEEPS = 50  # over all inputs, at most
SMALL = 1e-9  # share of a step's own error that is a rounding error


def nearest(weight: Array, hessian: Array, scales: Array, zeros: Array, top: int) -> Array:
    """Each weight to its nearest integer, as ``gptq`` takes and gives them."""
    return np.asarray(np.clip(np.rint(weight / _steps(scales)) + zeros, 0, top))


def gptq(weight: Array, hessian: Array, scales: Array, zeros: Array, top: int) -> Array:
    """Round input by input, the error of each made up for by those to come (Frantar et al., arXiv 2210.17323).

    With U the upper Cholesky factor of the inverse Hessian, what input k loses is ``e = (w_k - q_k) / U_kk``, and the
    weights of later inputs j change by ``-U_kj e`` (algorithm 1).

    Args:
        weight: (inputs, outputs).
        hessian: ``2 sum x x^T`` over what the layer reads, (inputs, inputs); it is damped by ``DAMPING``.
        scales: of each number's grid, (inputs, outputs).
        zeros: integers that mean zero, (inputs, outputs).
        top: the largest integer.

    Returns:
        Integers from 0 to ``top``, (inputs, outputs).
    """
    left, integers = weight.astype(np.float64), np.zeros(weight.shape)
    damping = max(DAMPING * float(hessian.diagonal().mean()), np.finfo(np.float64).tiny ** 0.5)
    factor = np.linalg.cholesky(np.linalg.inv(hessian + damping * np.eye(len(hessian)))).T
    steps = _steps(scales)
    for k, row in enumerate(factor):
        integers[k] = np.clip(np.rint(left[k] / steps[k]) + zeros[k], 0, top)
        error = (left[k] - (integers[k] - zeros[k]) * scales[k]) / row[k]
        left[k + 1 :] -= np.outer(row[k + 1 :], error)
    return integers


def up_or_down(weight: Array, hessian: Array, scales: Array, zeros: Array, top: int) -> Array:
    """Each weight up or down: the problem of AdaRound (Nagel et al., arXiv 2004.10568, eq. 20), without its training.

    AdaRound relaxes the choice and trains it for thousands of steps, which a method here would have to pay for. This
    starts at the nearest integers and turns single weights over, input by input, for as long as the squared error of
    the layer's result, ``e^T H e``, becomes smaller (coordinate descent).

    Args and returns: as ``gptq``.
    """
    below = np.clip(np.floor(weight / _steps(scales)) + zeros, 0, top)
    above = np.minimum(below + 1, top)
    integers = np.clip(nearest(weight, hessian, scales, zeros, top), below, above)
    slope = hessian @ ((integers - zeros) * scales - weight)
    for _ in range(SWEEPS):
        turned = False
        for k, own in enumerate(hessian):
            change = (below[k] + above[k] - 2 * integers[k]) * scales[k]
            gain = -change * (2 * slope[k] + change * own[k])
            change = np.where(gain > SMALL * own[k] * np.square(scales[k]), change, 0.0)
            if change.any():
                integers[k] = np.where(change == 0, integers[k], below[k] + above[k] - integers[k])
                slope, turned = slope + np.outer(own, change), True
        if not turned:
            break
    return integers


ROUNDINGS: dict[str, Callable[[Array, Array, Array, Array, int], Array]] = {
    "nearest": nearest,
    "up_or_down": up_or_down,
    "gptq": gptq,
}


def _steps(scales: Array) -> Array:
    return np.where(scales == 0, 1.0, scales)


def rounded(how: str, weight: Array, hessian: Array, scales: Array, top: int) -> Array:
    """Integers from ``-top`` to ``top``; an output for which the nearest ones reconstruct better keeps those.

    Args:
        how: one of ``ROUNDINGS``.
        weight: (inputs, outputs).
        hessian: ``2 sum x x^T`` over what the layer reads, (inputs, inputs).
        scales: of each output's grid, (outputs,).
        top: the largest integer.
    """
    steps = np.broadcast_to(scales, weight.shape).astype(np.float64)
    zeros = np.full(weight.shape, top)
    plain, other = (ROUNDINGS[name](weight, hessian, steps, zeros, 2 * top) - top for name in ("nearest", how))
    errors = [reconstruction_errors(weight, integers * steps, hessian) for integers in (plain, other)]
    return np.where(errors[1] < errors[0], other, plain)


def reconstruction_errors(weight: Array, other: Array, hessian: Array) -> Array:
    """Twice the squared difference of what each output becomes, summed over what the layer reads: (outputs,)."""
    error = other.astype(np.float64) - weight
    return np.asarray((error * (hessian @ error)).sum(0))


def on_grid(model: OnnxModel, batches: Iterable[Batch], how: str, top: int, *, per_channel: bool) -> OnnxModel:
    """The model with the weights of its convolutions and linear layers, as floats, on grids from ``-top`` to ``top``.

    The step of each output, or of all, is that of the largest weight. Recurrent layers, whose hidden states are no
    tensors of the file, and transposed convolutions stay as they are.

    Args:
        model: in floating point.
        batches: what the layers read is taken from these, and from the network that is not rounded.
        how: one of ``ROUNDINGS``.
        top: the largest integer.
        per_channel: a step for each output, or one for all.
    """
    loaded = onnx.load_from_string(model.data)
    stored = {tensor.name: tensor for tensor in loaded.graph.initializer}
    layers = [node for node in loaded.graph.node if _is_known(node, stored)]
    for node in layers if (known := hessians(model, layers, batches)) else ():
        tensor = stored[node.input[1]]
        values, first = numpy_helper.to_array(tensor), output_axis(node) == 0
        rows = values.reshape(len(values), -1) if first else values.T
        extremes = np.abs(rows).max(1) if per_channel else np.full(len(rows), np.abs(rows).max())
        groups, scales = known[node.output[0]], extremes.astype(np.float64) / top
        parts = zip(np.split(rows, len(groups)), groups, np.split(scales, len(groups)), strict=True)
        integers = np.concatenate([rounded(how, own.T, hessian, steps, top).T for own, hessian, steps in parts])
        grid = (integers * scales[:, None]).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(grid.reshape(values.shape) if first else grid.T.copy(), tensor.name))
    return OnnxModel(loaded.SerializeToString())


def output_axis(node: Any) -> int:
    """Axis of the outputs in the weight of a convolution or linear layer."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return int(node.op_type == "ConvTranspose" or not (node.op_type == "Conv" or transposed))


def _is_known(node: Any, stored: dict[str, Any]) -> bool:
    """Whether a node is a linear layer or a convolution over one to three axes, with a weight from the file."""
    dims = len(getattr(stored.get(node.input[1]) if len(node.input) > 1 else None, "dims", ()))
    return (node.op_type in ("MatMul", "Gemm") and dims == 2) or (node.op_type == "Conv" and dims in (3, 4, 5))


def hessians(model: OnnxModel, nodes: Sequence[Any], batches: Iterable[Batch]) -> dict[str, Array]:
    """``2 sum x x^T`` of what layers read, (groups, inputs, inputs), by their first output; empty without batches."""
    loaded = onnx.load_from_string(model.data)
    sums: dict[str, Array] = {}
    sizes = {tensor.name: tensor.dims for tensor in loaded.graph.initializer}
    for read in activations(model, [node.input[0] for node in nodes], batches):
        for node in nodes:
            for rows in _read_rows(node, sizes[node.input[1]], torch.from_numpy(read[node.input[0]])):
                product = 2 * (rows.mT @ rows).double().numpy()
                sums[node.output[0]] = sums.get(node.output[0], 0.0) + product
    return sums


def activations(model: OnnxModel, names: Sequence[str], batches: Iterable[Batch]) -> Iterator[dict[str, Array]]:
    """What tensors of a file hold for each batch, by name."""
    loaded = onnx.load_from_string(model.data)
    given = loaded.graph.input[0].name
    known = {given, *(output.name for output in loaded.graph.output)}
    wanted = [*dict.fromkeys(name for name in names if name != given)]
    loaded.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    session = OnnxModel(loaded.SerializeToString()).session()
    for batch in batches:
        inputs = np.ascontiguousarray(batch.inputs.numpy())
        computed = session.run(wanted, {given: inputs}) if wanted else []
        yield dict(zip(wanted, computed, strict=True)) | {given: inputs}


def _read_rows(node: Any, shape: Sequence[int], read: Tensor) -> Iterator[Tensor]:
    """What meets the weight of a layer, (groups, positions, inputs), of one example at a time for a convolution."""
    if node.op_type != "Conv":
        yield read.reshape(1, -1, read.shape[-1])
        return
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    axes = range(len(shape) - 2)
    ones, pads = [1] * len(axes), given.get("pads", [0] * (2 * len(axes)))
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    ends = [pads[place] for axis in reversed(axes) for place in (axis, axis + len(axes))]  # the last axis first
    for example in pad(read, ends):
        patches = example  # (channels, *positions, *taps) in the end
        for axis, size, stride, dilation in zip(axes, shape[2:], strides, dilations, strict=True):
            patches = patches.unfold(axis + 1, (size - 1) * dilation + 1, stride)[..., ::dilation]
        taps_first = patches.movedim([*range(1, 1 + len(axes))], [*range(-len(axes), 0)]).flatten(-len(axes))
        yield taps_first.reshape(given.get("group", 1), -1, taps_first.shape[-1]).mT
