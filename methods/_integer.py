"""An exported model in 8-bit integers, each operator in the way that ONNX Runtime runs it best."""

import contextlib
import io
import itertools
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from bench import Batch, OnnxModel, multiplies_integers

CALIBRATIONS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
LAYERS = ("Conv", "Gemm", "MatMul")  # with a weight, or of two activations
#: channels that a convolution has to read for integers to be faster: with fewer, ONNX Runtime takes longer to copy the
#: patches that an integer product needs than to compute all of it in floats, sixteen channels at a time
FEWEST_READ = 16
#: what becomes integers where no layer finds its ranges as it runs: layers, and what stands between two of them. Other
#: operators, such as those of a pooling of statistics, have no integer kernel or a slow one: they would only convert
_STATIC = (*LAYERS, "Relu", "Clip", "LeakyRelu", "Sigmoid", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
_MOVED = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Pad", "Resize")  # integers like floats
#: no kernel in integers: their weights are stored as integers and become floats when the file is loaded
_FLOAT_ONLY = ("GRU", "RNN")


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Feeds batches to ONNX Runtime's calibrator."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch.inputs.numpy()}


def largest_integer(reduced: bool) -> int:
    """Of a weight, of 8 bits or reduced to 7; the smallest is its negative."""
    return 64 if reduced else 127


#: lowest and highest
Ends = tuple[float, float]
SAME = 1e-3  # as a share of a tensor's span: what two runtimes may differ by; of a step: what rounding errors move
#: what ONNX Runtime is told of a tensor's integers, for the whole tensor or each of its channels
Grids = dict[str, list[dict[str, Any]]]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trained:
    """A range that features were trained within.

    Attributes:
        ends: of the range.
        probed: what the features themselves reach on ``Ranges.probe``, by which the tensor of a file is known.
    """

    ends: Ends
    probed: Ends


@dataclass(frozen=True)
class Ranges:
    """What decides the ranges between which numbers become integers.

    Attributes:
        calibration: one of ``CALIBRATIONS``: the extremes that activations take, those of least divergence in
            information, or all but the outermost.
        per_channel: a range for each output channel of a weight, or one for all of it.
        reduced: weights have 7 bits: sums of products of 8 bits overflow 16 on x86 processors without VNNI.
        trained: ranges that take the place of calibrated ones.
        probe: an input of the model; None without ``trained``.
    """

    calibration: str = "minmax"
    per_channel: bool = True
    reduced: bool = field(default_factory=lambda: not multiplies_integers())
    trained: tuple[Trained, ...] = ()
    probe: Tensor | None = None


def quantized(
    model: OnnxModel, batches: Iterable[Batch], note: Callable[[str], None], ranges: Ranges | None = None
) -> OnnxModel:
    """The model in int8.

    A model of convolutions and linear layers becomes static throughout: activations have fixed ranges, calibrated on
    ``batches``. With recurrent layers or attention in it, whose activations fixed ranges serve badly, only the
    convolutions are static; linear layers and LSTMs find the range of each input as they run, and the weights of GRUs
    and plain RNNs are stored in 8 bits but multiplied as floats.

    Args:
        model: in floating point.
        batches: what the ranges of activations are taken from.
        note: called with what a reader of the result should know.
        ranges: per channel, between extremes, and of 7 bits where this processor needs it, unless given.
    """
    ranges = ranges or Ranges()
    if ranges.reduced:
        note("weights have 7 bits: without VNNI, this processor's sums of 8-bit products would overflow")
    prepared = _converted(model, partial(quant_pre_process, skip_symbolic_shape=True))
    graph = onnx.load_from_string(prepared.data).graph
    floats = _in_floats(graph)
    if few_read := sum(node.op_type == "Conv" and node.name in floats for node in graph.node):
        few = f"fewer than {FEWEST_READ} channels"
        note(f"{few_read} convolution(s) that read {few} stay in floats, which are faster there")
    held = _held(graph, ranges)
    if is_static(prepared):
        return _static(prepared, batches, ranges, None, floats, held | _trained(prepared, ranges))
    result = _dynamic(prepared, ranges, held)
    if nodes := [name for name in _convolutions(graph.node) if name not in floats]:
        result = _static(result, batches, ranges, nodes, floats, held | _trained(prepared, ranges, nodes))
    if any(node.op_type in _FLOAT_ONLY for node in graph.node):
        note(
            "the weights of GRU and RNN layers are stored in 8 bits but multiplied as floats, since ONNX Runtime has "
            "no integer kernel for them: the file is smaller, these layers are not faster"
        )
        result = _stored_in_eight_bits(result)
    return result


def is_static(model: OnnxModel) -> bool:
    """Whether all features will be rounded between fixed ranges: a network without recurrence and attention."""
    graph = onnx.load_from_string(model.data).graph
    return not {node.op_type for node in graph.node} & {*_FLOAT_ONLY, "LSTM"} and not _has_attention(graph)


def _converted(model: OnnxModel, convert: Callable[[str, str], None]) -> OnnxModel:
    """What a tool that works on files makes of a model; its advice and what it prints are for nobody here."""
    silent = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.callback(logging.disable, silent)
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        source.write_bytes(model.data)
        convert(str(source), str(target))
        return OnnxModel(target.read_bytes())


def _static(  # noqa: PLR0917
    model: OnnxModel,
    batches: Iterable[Batch],
    ranges: Ranges,
    nodes: list[str] | None,
    left_out: list[str],
    grids: Grids,
) -> OnnxModel:
    """These nodes (all, if none are named) but for some between fixed ranges; some tensors on grids of their own."""
    graph = onnx.load_from_string(model.data).graph
    missing = {*grids} - {name for node in graph.node for name in (*node.input, *node.output)}
    # others are not calibrated either: where attention is masked, scores are infinite
    kinds = [*_STATIC, *_MOVED] if nodes is None else sorted({n.op_type for n in graph.node if n.name in nodes})
    return _converted(
        model,
        lambda source, target: quantize_static(
            source,
            target,
            _Calibration(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=ranges.per_channel,
            reduce_range=ranges.reduced,
            calibrate_method=CALIBRATIONS[ranges.calibration],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            op_types_to_quantize=kinds,
            nodes_to_exclude=left_out,
            extra_options={"TensorQuantOverrides": {name: g for name, g in grids.items() if name not in missing}},
        ),
    )


def _trained(model: OnnxModel, ranges: Ranges, nodes: Sequence[str] | None = None) -> Grids:
    """Grids in the trained ranges of what layers (these nodes, all if none are named) read and make, by tensor.

    A tensor is known by what it reaches on the probe: order and count of layers differ between a network and its file,
    and a norm that is folded into a layer changes what that makes. A tensor that nothing was trained for is left out.
    """
    if ranges.probe is None:
        return {}
    loaded = onnx.load_from_string(model.data)
    graph, stored = loaded.graph, {tensor.name for tensor in loaded.graph.initializer}
    quantized_nodes = [node for node in graph.node if nodes is None or node.name in nodes]
    layers = [node for node in quantized_nodes if node.op_type in LAYERS]
    between = {name for node in layers for name in (node.input[0], node.output[0])}
    between |= {node.output[0] for node in quantized_nodes if node.op_type in ("Relu", "Clip")}
    names = sorted(between - stored - {tensor.name for tensor in graph.input})
    outputs = [*dict.fromkeys([*names, *(tensor.name for tensor in graph.output)])]
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    computed = OnnxModel(loaded.SerializeToString()).session().run(names, {"input": ranges.probe.numpy()})
    reached = {name: (float(values.min()), float(values.max())) for name, values in zip(names, computed, strict=True)}
    reached |= {tensor.name: _ends(ranges.probe) for tensor in graph.input}
    found = {
        name: next((t.ends for t in ranges.trained if _same(t.probed, ends)), None) for name, ends in reached.items()
    }
    return {name: [_grid(*ends)] for name, ends in found.items() if ends is not None}


def _ends(values: Tensor) -> Ends:
    return float(values.min()), float(values.max())


def _same(one: Ends, other: Ends) -> bool:
    span = max(one[1] - one[0], 1e-12)
    return all(abs(a - b) <= SAME * span for a, b in zip(one, other, strict=True))


def _grid(low: float, high: float) -> dict[str, Any]:
    """The 256 numbers from low to high, as ONNX Runtime takes them."""
    scale = max(high - low, 1e-12) / 255
    zero = np.array(round(-low / scale), dtype=np.uint8)
    return {"scale": np.array(scale, dtype=np.float32), "zero_point": zero}


def _held(graph: Any, ranges: Ranges) -> Grids:
    """Grids of the weights that lie on one already, other than ONNX Runtime's own from extreme to extreme."""
    stored, top, grids = {tensor.name: tensor for tensor in graph.initializer}, largest_integer(ranges.reduced), {}
    for name, axis in [place for node in graph.node for place in _weights(node) if place[0] in stored]:
        values = numpy_helper.to_array(stored[name])
        # those of an LSTM (directions, rows, columns) are quantized as (directions rows, columns)
        rows = values.reshape(-1, values.shape[-1]) if axis < 0 else np.moveaxis(values, axis, 0)
        rows = rows.reshape(len(rows) if ranges.per_channel else 1, -1)
        steps, along = steps_held(rows, top), {"axis": max(axis, 0)} if ranges.per_channel else {}
        if (steps != np.abs(rows).max(1) / top).any():
            grids[name] = [{**along, "rmin": -top * step, "rmax": top * step} for step in steps]
    return grids


def _weights(node: Any) -> list[tuple[str, int]]:
    """Names of what a node multiplies its input with, and the axes of its outputs; -1 for rows of each direction."""
    if node.op_type == "LSTM":
        return [(name, -1) for name in node.input[1:3]]
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return [(node.input[1], int(node.op_type != "Conv" and not transposed))] if node.op_type in LAYERS else []


def steps_held(rows: Array, top: int) -> Array:
    """The coarsest step of which all numbers of a row are multiples by at most ``top``, for each row.

    Where there is none, the largest number becomes ``top`` steps. Nothing is further from its multiple than then.

    Args:
        rows: (rows, columns).
        top: the largest integer.
    """
    extremes = np.abs(rows).max(1)
    shares = np.abs(rows) / np.maximum(extremes, np.finfo(np.float32).tiny)[:, None]
    levels = np.where(extremes > 0, 0, top)
    for level in range(1, top):
        open_rows = np.flatnonzero(levels == 0)
        few = _whole(shares[open_rows, :16] * level)  # numbers on no grid are found out early
        open_rows = open_rows[few]
        levels[open_rows[_whole(shares[open_rows] * level)]] = level
    return np.asarray(extremes / np.where(levels == 0, top, levels).astype(extremes.dtype))


def _whole(numbers: Array) -> Array:
    """Which rows hold whole numbers, as exactly as 32-bit floats that a norm was folded into."""
    return np.asarray(np.abs(numbers - np.rint(numbers)).max(1) <= SAME)


def _dynamic(model: OnnxModel, ranges: Ranges, grids: Grids) -> OnnxModel:
    return _converted(
        model,
        lambda source, target: quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "LSTM"],
            per_channel=ranges.per_channel,
            reduce_range=ranges.reduced,
            weight_type=QuantType.QInt8,
            # the first is checked, before the weights of LSTMs have the shape that they are quantized in
            extra_options={"TensorQuantOverrides": {"input": [{"symmetric": False}], **grids}},
        ),
    )


def _has_attention(graph: Any) -> bool:
    """Whether two activations are multiplied."""
    stored = {tensor.name for tensor in graph.initializer}
    return any(node.op_type == "MatMul" and not stored & {*node.input} for node in graph.node)


def narrow(reads: Iterable[float]) -> int:
    """How many layers stay in floats: the convolutions that read few channels, before any other layer.

    Behind a layer in integers they become integers, too: there ONNX Runtime rounds weights in floats by itself.

    Args:
        reads: by each layer, channels if it is a convolution, else infinity.
    """
    return sum(1 for _ in itertools.takewhile(lambda channels: channels < FEWEST_READ, reads))


def _in_floats(graph: Any) -> list[str]:
    """Names of the operators that stay in floats where all could be integers."""
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}

    def reads(node: Any) -> float:
        if node.op_type != "Conv" or node.input[1] not in shapes:
            return math.inf
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        return float(shapes[node.input[1]][1] * groups)

    layers = [at for at, node in enumerate(graph.node) if node.op_type in LAYERS]
    first = [*layers, len(graph.node)][narrow(reads(graph.node[at]) for at in layers)]
    # an offset, as under the root of a deviation, is no sum of what two layers make
    offsets = [node for node in graph.node[first:] if node.op_type == "Add" and shapes.keys() & {*node.input}]
    return [node.name for node in (*graph.node[:first], *offsets)]


def _convolutions(nodes: Sequence[Any]) -> list[str]:
    """Names of the convolutions and of the rectifiers right behind them, which their integer kernel computes too."""
    results = {node.output[0] for node in nodes if node.op_type == "Conv"}
    behind = {node.name for node in nodes if node.op_type in ("Relu", "Clip") and node.input[0] in results}
    return [node.name for node in nodes if node.op_type == "Conv" or node.name in behind]


def _stored_in_eight_bits(model: OnnxModel) -> OnnxModel:
    """The model with the weights W and R of its recurrent layers as integers, times a scale for each of their rows.

    Cast and Mul are computed once, when the file is loaded; DequantizeLinear would run at every call, at 1.2 times the
    time of the whole model.
    """
    loaded = onnx.load_from_string(model.data)
    graph = loaded.graph
    names = {name for node in graph.node if node.op_type in _FLOAT_ONLY for name in node.input[1:3]}
    weights = [tensor for tensor in graph.initializer if tensor.name in names]
    nodes = [*(node for weight in weights for node in _as_integers(weight, graph)), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(loaded)
    return OnnxModel(loaded.SerializeToString())


def _as_integers(weight: Any, graph: Any) -> Iterator[Any]:
    """Replaces a weight (directions, rows, columns) by integers and scales; yields the nodes that compute it."""
    values = numpy_helper.to_array(weight)
    steps = steps_held(values.reshape(-1, values.shape[2]), 127).reshape(*values.shape[:2], 1)
    scale = np.maximum(steps, np.finfo(np.float32).tiny)
    integers = np.rint(values / scale).astype(np.int8)
    name = weight.name
    weight.CopyFrom(numpy_helper.from_array(integers, f"{name}_quantized"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    yield helper.make_node("Cast", [f"{name}_quantized"], [f"{name}_cast"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name])
