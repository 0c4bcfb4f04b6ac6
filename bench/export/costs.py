"""What the exported file costs, read from its graph: the same counting for every method, whatever made the file."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.errors import BenchError
from bench.export.model import OnnxModel

#: operators that move values without changing them
_MOVES = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast")


@dataclass(frozen=True)
class Stored:
    """A weight in the file.

    Attributes:
        size: number of its elements.
        nonzero: how many of them are not zero (not the zero point, if they are integers).
        bits: of one element.
    """

    size: int
    nonzero: int
    bits: int


class Graph:
    """The nodes of an exported model, with the shapes that its tensors have for an input of a given shape.

    Args:
        model: the file.
        input_shape: of its input.
        wanted: names of the operators whose operands' shapes will be asked for.
    """

    def __init__(self, model: OnnxModel, input_shape: tuple[int, ...], wanted: Iterable[str]) -> None:
        loaded = onnx.load_from_string(model.data)
        self.nodes = loaded.graph.node
        self.weights = {tensor.name: tensor for tensor in loaded.graph.initializer}
        self.weights |= {node.output[0]: node.attribute[0].t for node in self.nodes if _is_constant(node)}
        self._makers = {output: node for node in self.nodes for output in node.output}
        self._shapes = self._measured(loaded, input_shape, set(wanted))

    def _measured(self, loaded: Any, input_shape: tuple[int, ...], wanted: set[str]) -> dict[str, tuple[int, ...]]:
        """Shapes from one run: inference by rules stops at the first length that the graph itself computes."""
        source = loaded.graph.input[0]
        zeros = np.zeros(input_shape, helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type))
        shapes = {name: tuple(tensor.dims) for name, tensor in self.weights.items()} | {source.name: input_shape}
        there = {"", *shapes, *(output.name for output in loaded.graph.output)}
        for node in self.nodes:
            if node.op_type in wanted:
                new = [name for name in dict.fromkeys((*node.input, *node.output[:1])) if name not in there]
                loaded.graph.output.extend(onnx.ValueInfoProto(name=name) for name in new)
                there.update(new)
        session = OnnxModel(loaded.SerializeToString()).session(optimized=False)
        values = session.run(None, {source.name: zeros})
        return shapes | {o.name: value.shape for o, value in zip(session.get_outputs(), values, strict=True)}

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an operand or the first result of a wanted operator."""
        return self._shapes[name]

    def maker(self, name: str) -> Any:
        """The node that computes a tensor, or None."""
        return self._makers.get(name)

    def stored(self, name: str, zero_point: str = "") -> Stored | None:
        """The weight behind an operand; None if it is computed from the input."""
        if name in self.weights:
            return _stored(self.weights[name], self.weights.get(zero_point))
        maker = self.maker(name)
        if maker is not None and maker.op_type in _MOVES:
            return self.stored(maker.input[0])
        if maker is not None and maker.op_type == "DequantizeLinear":
            return self.stored(maker.input[0], *maker.input[2:3])
        if maker is not None and maker.op_type == "Mul" and maker.input[1] in self.weights:  # integers times a scale
            return self.stored(maker.input[0])
        return None

    def bits(self, name: str) -> int:
        """Bits of an operand: as stored; of an activation 8 behind a quantise-dequantise pair, else 32."""
        weight = self.stored(name)
        if weight is not None:
            return weight.bits
        maker = self.maker(name)
        return 8 if maker is not None and maker.op_type == "DequantizeLinear" else 32


def _is_constant(node: Any) -> bool:
    """Whether a node is numbers that a model carries along, as an initializer is.

    All alike they say nothing: the zeros of a first state, the ones of a norm without weights.
    """
    if node.op_type != "Constant" or node.attribute[0].name != "value" or not node.attribute[0].t.dims:
        return False
    values = numpy_helper.to_array(node.attribute[0].t)
    return bool((values != values.flat[0]).any())


def _stored(tensor: Any, zero_point: Any) -> Stored:
    values = numpy_helper.to_array(tensor)
    zero = np.zeros(1, values.dtype) if zero_point is None else numpy_helper.to_array(zero_point)
    if zero.ndim == 2:  # (directions, gates H) of an LSTM whose weights are (directions, columns, gates H)
        zero = zero[:, None]
    elif zero.size > 1:  # one for each channel, whose axis is the one of this length
        axis = values.shape.index(zero.size)
        zero = zero.reshape([-1 if dimension == axis else 1 for dimension in range(values.ndim)])
    return Stored(values.size, int(np.count_nonzero(values != zero)), _bits(tensor.data_type))


@lru_cache
def _bits(data_type: int) -> int:
    name = onnx.TensorProto.DataType.Name(data_type)
    return 4 if name in ("INT4", "UINT4") else helper.tensor_dtype_to_np_dtype(data_type).itemsize * 8


@dataclass(frozen=True)
class Work:
    """MACs of one node, those with a non-zero weight, and MACs x weight bits x activation bits."""

    macs: int
    effective: int
    bops: int


@dataclass(frozen=True)
class _Form:
    """Where a product finds its operands.

    Attributes:
        weight: place of the right operand, mostly the weight; the left one comes first.
        zero_point: place of the weight's zero point.
        scales: places of scales and zero points.
        integer: whether the runtime multiplies 8-bit integers.
    """

    weight: int = 1
    zero_point: int | None = None
    scales: tuple[int, ...] = ()
    integer: bool = False


_INTEGER = _Form(1, 3, (2, 3), integer=True)
_LINEAR = _Form(3, 5, (1, 2, 4, 5, 6, 7), integer=True)
_CONVOLUTIONS = {"Conv": _Form(), "ConvInteger": _INTEGER, "QLinearConv": _LINEAR}
_PRODUCTS = {
    **_CONVOLUTIONS,
    "ConvTranspose": _Form(),
    "Gemm": _Form(),
    "MatMul": _Form(),
    "Einsum": _Form(),
    "MatMulInteger": _INTEGER,
    "DynamicQuantizeMatMul": _INTEGER,
    "MatMulIntegerToFloat": _Form(1, 5, (2, 3, 4, 5), integer=True),
    "QLinearMatMul": _LINEAR,
    "QGemm": _Form(3, 5, (1, 2, 4, 5, 7, 8), integer=True),
}
#: recurrent layers, and where they find the zero points of W (from the input) and R (from the hidden state)
_RECURRENT: dict[str, tuple[int | None, int | None]] = {
    "GRU": (None, None),
    "LSTM": (None, None),
    "RNN": (None, None),
    "DynamicQuantizeLSTM": (9, 11),
}
#: every operator with a formula
COSTLY = {*_PRODUCTS, *_RECURRENT}


def work(node: Any, graph: Graph) -> Work:
    """Cost of a node whose operator is in ``COSTLY``."""
    return _recurrent(node, graph) if node.op_type in _RECURRENT else _product(node, graph)


def scales(node: Any, graph: Graph) -> list[str]:
    """Operands that are scales or zero points of the quantisation, and no weights."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return list(node.input[1:])
    if node.op_type == "DynamicQuantizeLSTM":
        return list(node.input[8:])
    if node.op_type == "Mul":  # with the scale of an activation, behind an integer product, or with stored integers
        makers = [graph.maker(name) for name in node.input]
        return list(node.input) if any(m is not None and _is_scaled(m, graph) for m in makers) else []
    form = _PRODUCTS.get(node.op_type, _Form())
    return [node.input[place] for place in form.scales if place < len(node.input)]


def _is_scaled(maker: Any, graph: Graph) -> bool:
    return maker.op_type == "DynamicQuantizeLinear" or (maker.op_type == "Cast" and maker.input[0] in graph.weights)


def _operand(node: Any, place: int | None) -> str:
    return node.input[place] if place is not None and place < len(node.input) else ""


def _product(node: Any, graph: Graph) -> Work:
    form = _PRODUCTS[node.op_type]
    left, right = node.input[0], _operand(node, form.weight)
    # a matrix may also stand to the left; a product of two activations, as in attention, has no weight
    weight = graph.stored(right, _operand(node, form.zero_point)) or graph.stored(left)
    macs = _macs(node, graph, left, right)
    effective = macs if weight is None else round(macs * weight.nonzero / weight.size)
    return Work(macs, effective, macs * (64 if form.integer else graph.bits(left) * graph.bits(right)))


def _macs(node: Any, graph: Graph, left: str, right: str) -> int:
    if node.op_type in _CONVOLUTIONS:  # (out, in / groups, *kernel) at each position of the result
        return prod(graph.shape(node.output[0])) * prod(graph.shape(right)[1:])
    if node.op_type == "ConvTranspose":  # (in, out / groups, *kernel) at each position of the input
        return prod(graph.shape(left)) * prod(graph.shape(right)[1:])
    if node.op_type == "Einsum":
        return _einsum(node, [graph.shape(name) for name in node.input])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(graph.shape(node.output[0])) * graph.shape(left)[0 if transposed else -1]


def _einsum(node: Any, shapes: list[tuple[int, ...]]) -> int:
    """Product of the lengths of all indices; those that only one side has and the result has not are summed before."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    operands, _, result = equation.partition("->")
    sides = operands.split(",")
    if len(sides) == 1:
        return 0
    if len(sides) > 2 or "." in equation or not result:
        raise BenchError(
            f"cannot count the MACs of einsum {equation!r}: write it as products of two operands with all indices named"
        )
    sizes = {i: size for side, shape in zip(sides, shapes, strict=True) for i, size in zip(side, shape, strict=True)}
    shared = set(sides[0]) & set(sides[1])
    return prod(sizes[index] for index in shared | set(result)) if shared - set(result) else 0


def _recurrent(node: Any, graph: Graph) -> Work:
    """(T, B, I) through W (directions, gates H, I) and R (directions, gates H, H): all elements work at each step."""
    steps = prod(graph.shape(node.input[0])[:2])
    macs = effective = bops = 0
    for name, zero in zip(node.input[1:3], _RECURRENT[node.op_type], strict=True):
        weight = graph.stored(name, _operand(node, zero))
        size = prod(graph.shape(name)) if weight is None else weight.size
        macs += steps * size
        effective += steps * (size if weight is None else weight.nonzero)
        bops += steps * size * (64 if node.op_type == "DynamicQuantizeLSTM" else 32 * graph.bits(name))
    return Work(macs, effective, bops)


#: operators of ONNX without multiply-accumulates worth the name
_FREE = set(
    """
    Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Clip Sign Relu LeakyRelu Sigmoid Tanh Erf Softmax
    LogSoftmax HardSigmoid HardSwish Elu Selu Celu PRelu Softplus Softsign Not BatchNormalization LayerNormalization
    InstanceNormalization ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 MaxPool AveragePool
    GlobalAveragePool GlobalMaxPool Pad Reshape Transpose Squeeze Unsqueeze Flatten Concat Split Slice Gather Expand
    Shape Constant ConstantOfShape Cast Identity Where Equal Less Greater Range Size Tile QuantizeLinear
    DequantizeLinear Dropout Floor Ceil Round And Or Xor ScatterND ScatterElements GatherElements GatherND Trilu Mod
    GreaterOrEqual LessOrEqual CumSum ArgMax ArgMin TopK Sin Cos Sum Mean ReduceL1 IsNaN IsInf NonZero
    DynamicQuantizeLinear
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
    graph = Graph(model, input_shape, COSTLY)
    macs = effective = bops = 0
    for node in graph.nodes:
        if node.op_type in COSTLY:
            cost = work(node, graph)
            macs += cost.macs
            effective += cost.effective
            bops += cost.bops
        elif node.op_type not in _FREE:
            raise BenchError(
                f"cannot count the MACs of ONNX operator {node.op_type!r}: add its formula to bench/export/costs.py"
            )
    return Costs(_stored_weights(graph), macs, effective, bops, len(model.data))


def _stored_weights(graph: Graph) -> int:
    """Elements of the weights and biases; scales, zero points and shape constants are none."""
    skipped = {name for node in graph.nodes for name in scales(node, graph)}
    used = {name for node in graph.nodes for name in node.input}
    return sum(
        prod(tensor.dims)
        for name, tensor in graph.weights.items()
        if name in used and name not in skipped and len(tensor.dims) > 0 and tensor.data_type != onnx.TensorProto.INT64
    )
