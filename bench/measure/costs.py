"""What the exported file costs, read from its graph: the same counting for every method, whatever made the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from bench.errors import BenchError
from bench.measure.onnx_model import OnnxModel

_PRODUCTS = {"Conv", "Gemm", "MatMul"}
#: operators of ONNX without multiply-accumulates worth the name
_FREE = set(
    """
    Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Clip Sign Relu LeakyRelu Sigmoid Tanh Erf Softmax
    LogSoftmax HardSigmoid HardSwish Elu Not BatchNormalization LayerNormalization InstanceNormalization
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 MaxPool AveragePool GlobalAveragePool
    GlobalMaxPool Pad Reshape Transpose Squeeze Unsqueeze Flatten Concat Split Slice Gather Expand Shape Constant
    ConstantOfShape Cast Identity Where Equal Less Greater Range Size Tile QuantizeLinear DequantizeLinear Dropout
    Floor Ceil Round And Or ScatterND Trilu
    """.split()
)


@dataclass(frozen=True)
class Costs:
    """Costs of one unit of work.

    Attributes:
        params: stored weights and biases, batch norm folded into the convolution before it.
        macs: multiply-accumulates of convolutions and matrix products.
        effective_macs: those with a non-zero weight; theoretical, since runtimes multiply by the zeros too.
        bops: MACs x weight bits x activation bits.
        size_bytes: of the file.
    """

    params: int
    macs: int
    effective_macs: int
    bops: int
    size_bytes: int


def file_costs(model: OnnxModel, input_shape: tuple[int, ...]) -> Costs:
    """Costs of an exported model for an input of this shape.

    Raises:
        BenchError: the file has an operator whose cost is unknown; the message names it.
    """
    graph = _with_shapes(model, input_shape)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    macs = effective = bops = 0
    for node in graph.node:
        if node.op_type in _PRODUCTS:
            count, density, bits = _product(node, shapes, weights, makers)
            macs += count
            effective += round(count * density)
            bops += count * bits
        elif node.op_type not in _FREE:
            raise BenchError(
                f"cannot count the MACs of ONNX operator {node.op_type!r}: add its formula to bench/measure/costs.py"
            )
    return Costs(_stored_weights(graph, weights), macs, effective, bops, len(model.data))


def _with_shapes(model: OnnxModel, input_shape: tuple[int, ...]) -> Any:
    loaded = onnx.load_from_string(model.data)
    for dimension, size in zip(loaded.graph.input[0].type.tensor_type.shape.dim, input_shape, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = size
    for output in loaded.graph.output:
        output.type.tensor_type.ClearField("shape")
    return shape_inference.infer_shapes(loaded, strict_mode=True, data_prop=True).graph


def _product(
    node: Any, shapes: Mapping[str, list[int]], weights: Mapping[str, Any], makers: Mapping[str, Any]
) -> tuple[int, float, int]:
    """MACs of a product, the density of its weight, and weight bits x activation bits."""
    sides = [_stored(name, weights, makers) for name in node.input[:2]]
    stored = sides[1] if sides[1] is not None else sides[0]
    positions = prod(shapes[node.output[0]])
    if stored is None:  # a product of two activations, as in attention
        return positions * shapes[node.input[0]][-1], 1.0, _bits(node.input[0], makers) * _bits(node.input[1], makers)
    values, weight_bits = stored
    if node.op_type == "Conv":
        reduced = prod(values.shape[1:])
    elif node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        reduced = values.shape[1]
    else:
        reduced = values.shape[-2] if sides[1] is not None and values.ndim > 1 else values.shape[-1]
    activation = node.input[0] if sides[1] is not None else node.input[1]
    return positions * reduced, np.count_nonzero(values) / values.size, weight_bits * _bits(activation, makers)


def _stored(name: str, weights: Mapping[str, Any], makers: Mapping[str, Any]) -> tuple[np.ndarray, int] | None:
    """The stored values behind an input (integers of zero point 0 if quantised) and their bits."""
    if name in weights:
        values = numpy_helper.to_array(weights[name])
        return values, values.itemsize * 8
    maker = makers.get(name)
    if maker is not None and maker.op_type in ("Identity", "Transpose"):
        inner = _stored(maker.input[0], weights, makers)
        return (inner[0].T, inner[1]) if inner and maker.op_type == "Transpose" else inner
    if maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in weights:
        values = numpy_helper.to_array(weights[maker.input[0]])
        return values, values.itemsize * 8
    return None


def _bits(name: str, makers: Mapping[str, Any]) -> int:
    """Bits of an activation: 8 behind a quantise-dequantise pair, else 32."""
    maker = makers.get(name)
    return 8 if maker is not None and maker.op_type == "DequantizeLinear" else 32


def _stored_weights(graph: Any, weights: Mapping[str, Any]) -> int:
    """Elements of the weights and biases; scales, zero points and shape constants are none."""
    conversions = ("QuantizeLinear", "DequantizeLinear")
    skipped = {name for node in graph.node if node.op_type in conversions for name in node.input[1:]}
    used = {name for node in graph.node for name in node.input}
    return sum(
        prod(tensor.dims)
        for name, tensor in weights.items()
        if name in used and name not in skipped and len(tensor.dims) > 0 and tensor.data_type != onnx.TensorProto.INT64
    )
