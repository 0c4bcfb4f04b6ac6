"""An exported model in 8-bit integers, each operator in the way that ONNX Runtime runs it best."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
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

from bench import Batch, OnnxModel

CALIBRATIONS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
LAYERS = ("Conv", "Gemm", "MatMul")  # with a weight, or of two activations
#: no kernel in integers: their weights are stored as integers and become floats when the file is loaded
_FLOAT_ONLY = ("GRU", "RNN")


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Feeds batches to ONNX Runtime's calibrator."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch.inputs.numpy()}


def overflows() -> bool:
    """Whether this processor multiplies 8-bit numbers into 16-bit sums."""
    known = torch.cpu.get_capabilities()
    return known.get("architecture") == "x86_64" and not (known.get("avx512_vnni") or known.get("avx_vnni"))


#: lowest and highest
Ends = tuple[float, float]
SAME = 1e-3  # as a share of a tensor's span: what two runtimes may differ by


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
    reduced: bool = field(default_factory=overflows)
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
    prepared = _converted(model, quant_pre_process)
    graph = onnx.load_from_string(prepared.data).graph
    operators = {node.op_type for node in graph.node}
    # transposed convolutions have no integer kernel
    transposed = [node.name for node in graph.node if node.op_type == "ConvTranspose"]
    if is_static(prepared):
        return _static(prepared, batches, ranges, None, transposed, _trained(prepared, ranges))
    result = _dynamic(prepared, ranges)
    if "Conv" in operators:
        nodes = _convolutions(graph.node)
        result = _static(result, batches, ranges, nodes, transposed, _trained(prepared, ranges, nodes))
    if operators & {*_FLOAT_ONLY}:
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
    """What a tool that works on files makes of a model; its advice on how to use it is for nobody here."""
    silent = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
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
    trained: dict[str, Ends],
) -> OnnxModel:
    """These nodes (all, if none are named) but for some between fixed ranges, those of tensors that are named given."""
    grids = {name: [_grid(*ends)] for name, ends in trained.items()}
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
            nodes_to_exclude=left_out,
            extra_options={"TensorQuantOverrides": grids},
        ),
    )


def _trained(model: OnnxModel, ranges: Ranges, nodes: Sequence[str] | None = None) -> dict[str, Ends]:
    """The trained ranges of what layers (these nodes, all if none are named) read and make, by tensor.

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
    return {name: ends for name, ends in found.items() if ends is not None}


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


def _dynamic(model: OnnxModel, ranges: Ranges) -> OnnxModel:
    return _converted(
        model,
        lambda source, target: quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "LSTM"],
            per_channel=ranges.per_channel,
            reduce_range=ranges.reduced,
            weight_type=QuantType.QInt8,
        ),
    )


def _has_attention(graph: Any) -> bool:
    """Whether two activations are multiplied."""
    stored = {tensor.name for tensor in graph.initializer}
    return any(node.op_type == "MatMul" and not stored & {*node.input} for node in graph.node)


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
    scale = np.maximum(np.abs(values).max(2, keepdims=True), np.finfo(np.float32).tiny) / np.float32(127)
    integers = np.rint(values / scale).astype(np.int8)
    name = weight.name
    weight.CopyFrom(numpy_helper.from_array(integers, f"{name}_quantized"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    yield helper.make_node("Cast", [f"{name}_quantized"], [f"{name}_cast"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name])
