"""What the exported file costs, read from its graph: the same counting for every method, whatever made the file."""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.errors import BenchError
from bench.export import FLOAT_BITS
from bench.export.model import OnnxModel


@dataclass(frozen=True)
class _Form:
    """Where a product finds its operands."""

    weight: int = 1  # the right operand, mostly the weight; the left one comes first
    zero_point: int | None = None  # of the weight
    scales: tuple[int, ...] = ()  # scales and zero points
    integer: bool = False  # whether the runtime multiplies 8-bit integers


_INTEGER = _Form(1, 3, (2, 3), integer=True)
_LINEAR = _Form(3, 5, (1, 2, 4, 5, 6, 7), integer=True)
_CONVOLUTIONS = {"Conv": _Form(), "ConvInteger": _INTEGER, "QLinearConv": _LINEAR}
_PRODUCTS = {
    **_CONVOLUTIONS,
    **dict.fromkeys(("ConvTranspose", "Gemm", "MatMul", "Einsum"), _Form()),
    **dict.fromkeys(("MatMulInteger", "DynamicQuantizeMatMul"), _INTEGER),
    "MatMulIntegerToFloat": _Form(1, 5, (2, 3, 4, 5), integer=True),
    "QLinearMatMul": _LINEAR,
    "QGemm": _Form(3, 5, (1, 2, 4, 5, 7, 8), integer=True),
    "MatMulNBits": _Form(1, 3, (2, 3)),  # integers that become floats as they are read
}
#: recurrent layers, and where they find the zero points of W (from the input) and R (from the hidden state)
_RECURRENT = {**dict.fromkeys(("GRU", "LSTM", "RNN"), (None, None)), "DynamicQuantizeLSTM": (9, 11)}
_COSTLY = {*_PRODUCTS, *_RECURRENT}
_INTEGERS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
#: operators that move values without changing them
_MOVES = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast")
#: operators without multiply-accumulates worth the name
_FREE = set(
    """
    Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Reciprocal Min Max Clip Sign Relu LeakyRelu Sigmoid Tanh Erf Softmax
    LogSoftmax HardSigmoid HardSwish Elu Selu Celu PRelu Softplus Softsign Not BatchNormalization LayerNormalization
    InstanceNormalization ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 MaxPool AveragePool
    GlobalAveragePool GlobalMaxPool Pad Reshape Transpose Squeeze Unsqueeze Flatten Concat Split Slice Gather Expand
    Shape Constant ConstantOfShape Cast Identity Where Equal Less Greater Range Size Tile QuantizeLinear
    DequantizeLinear Dropout Floor Ceil Round And Or Xor ScatterND ScatterElements GatherElements GatherND Trilu Mod
    GreaterOrEqual LessOrEqual CumSum ArgMax ArgMin TopK Sin Cos Sum Mean ReduceL1 IsNaN IsInf NonZero
    DynamicQuantizeLinear Resize GroupNormalization DepthToSpace SpaceToDepth
    """.split()
)


@dataclass(frozen=True)
class Costs:
    """Costs of one unit of work."""

    params: int  # stored weights and biases, batch norm folded into the convolution before it
    macs: int  # multiply-accumulates of convolutions and matrix products
    effective_macs: int  # those with a non-zero weight; theoretical, since runtimes multiply by the zeros too
    bops: int  # MACs x weight bits x activation bits
    size_bytes: int  # of the file
    simulated: bool  # whether its bits are only simulated: integers that a Clip holds to fewer than they are stored in

    def promised(self, promises: str) -> float:
        """What a method's budget is held to, in MACs: with ``bits`` those of floats that are as many bit operations."""
        return {"mask": self.effective_macs, "bits": self.bops / FLOAT_BITS}.get(promises, self.macs)


def file_costs(model: OnnxModel, input_shape: tuple[int, ...]) -> Costs:
    """Costs of an exported model for an input of this shape; a ``BenchError`` names an operator of unknown cost."""
    graph = OnnxGraph(model, input_shape)
    works = [work for node in graph.nodes for work in _works(node, graph)]
    macs, effective, bops = (sum(column) for column in zip((0, 0, 0), *works, strict=True))
    simulated = any(graph.clipped_bits(node.output[0]) for node in graph.nodes)
    return Costs(_stored_weights(graph), macs, effective, bops, len(model.data), simulated)


def node_macs(model: OnnxModel, input_shape: tuple[int, ...]) -> dict[str, list[int]]:
    """MACs of each node that costs any, by its first output: of its product, or of a recurrent layer's W and R."""
    graph = OnnxGraph(model, input_shape)
    works = {node.output[0]: _works(node, graph) for node in graph.nodes}
    return {name: [macs for macs, *_ in own] for name, own in works.items() if own}


class Weight(NamedTuple):
    """A weight in the file: its elements, how many are not zero (not the zero point, if integers), bits of each."""

    size: int
    nonzero: int
    bits: int


class OnnxGraph:
    """The nodes of an exported model, and the operands and first results of those that cost.

    Attributes:
        constants: numbers in the file, by name: initializers, and nodes that are as good.
        makers: the node that computes a tensor, by its name.
        shapes: by name, for an input of the given shape.
    """

    def __init__(self, model: OnnxModel, input_shape: tuple[int, ...]) -> None:
        loaded = onnx.load_from_string(model.data)
        self.nodes = loaded.graph.node
        self.constants = {tensor.name: tensor for tensor in loaded.graph.initializer}
        self.constants |= {node.output[0]: node.attribute[0].t for node in self.nodes if _is_constant(node)}
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        self._measure(loaded, input_shape)

    def _measure(self, loaded: Any, input_shape: tuple[int, ...]) -> None:
        """Shapes from one pass: inference by rules stops at the first length that the graph itself computes."""
        source = loaded.graph.input[0]
        self.shapes[source.name] = input_shape
        there = {"", *self.shapes, *(output.name for output in loaded.graph.output)}
        names = [name for node in self.nodes if node.op_type in _COSTLY for name in (*node.input, node.output[0])]
        new = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in there]
        loaded.graph.output.extend(new)
        session = OnnxModel(loaded.SerializeToString()).session(optimized=False)
        zeros = np.zeros(input_shape, helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type))
        values = session.run(None, {source.name: zeros})
        self.shapes |= {o.name: value.shape for o, value in zip(session.get_outputs(), values, strict=True)}

    def weight(self, name: str, zero_point: str = "", axis: int = -1) -> Weight | None:
        """The weight behind an operand, its zero points along ``axis``; None if it is computed from the input."""
        if name in self.constants:
            return _weight(self.constants[name], self.constants.get(zero_point), axis)
        if (maker := self.makers.get(name)) is None:
            return None
        if maker.op_type == "DequantizeLinear":
            along = next((a.i for a in maker.attribute if a.name == "axis"), 1)
            return self.weight(maker.input[0], _operand(maker, 2), along)
        if maker.op_type == "Clip" and (bits := self.clipped_bits(name)):
            inner = self.weight(maker.input[0], zero_point, axis)
            return inner and inner._replace(bits=bits)
        scaled = maker.op_type == "Mul" and maker.input[1] in self.constants  # integers times a scale
        return self.weight(maker.input[0]) if scaled or maker.op_type in _MOVES else None

    def bits(self, name: str) -> int:
        """Bits of an operand: as stored or clipped; of an activation 8 behind a quantise-dequantise pair, else 32."""
        if (weight := self.weight(name)) is not None:
            return weight.bits
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return 32
        return self.clipped_bits(maker.input[0]) or 8

    def clipped_bits(self, name: str) -> int:
        """Bits of integers that a Clip holds between two numbers of the file; 0 if none does."""
        if (maker := self.makers.get(name)) is None or maker.op_type != "Clip":
            return 0
        bounds = [self.constants.get(bound) for bound in maker.input[1:]]
        if len(bounds) < 2 or any(bound is None or bound.data_type not in _INTEGERS for bound in bounds):
            return 0
        low, high = (int(numpy_helper.to_array(bound)) for bound in bounds)
        return (high - low).bit_length()


def _is_constant(node: Any) -> bool:
    """Whether a node is numbers that a model carries along, as an initializer is.

    All alike they say nothing: the zeros of a first state, the ones of a norm without weights.
    """
    if node.op_type != "Constant" or node.attribute[0].name != "value" or not node.attribute[0].t.dims:
        return False
    values = numpy_helper.to_array(node.attribute[0].t)
    return bool((values != values.flat[0]).any())


def _weight(tensor: Any, zero_point: Any, axis: int) -> Weight:
    values = numpy_helper.to_array(tensor)
    zero = np.zeros(1, values.dtype) if zero_point is None else numpy_helper.to_array(zero_point)
    if zero.ndim == 2:  # (directions, gates H) of an LSTM whose weights are (directions, columns, gates H)
        zero = zero[:, None]
    elif zero.size > 1:  # one for each channel
        zero = np.moveaxis(zero.reshape(-1, *[1] * (values.ndim - 1)), 0, axis)
    packed = onnx.TensorProto.DataType.Name(tensor.data_type) in ("INT4", "UINT4")
    return Weight(values.size, int(np.count_nonzero(values != zero)), 4 if packed else values.dtype.itemsize * 8)


#: MACs of a product, those with a non-zero weight, and MACs x weight bits x activation bits
Work = tuple[int, int, int]


def _operand(node: Any, place: int | None) -> str:
    return node.input[place] if place is not None and place < len(node.input) else ""


def _works(node: Any, graph: OnnxGraph) -> list[Work]:
    """Of the products of a node."""
    if node.op_type in _COSTLY:
        return _recurrent_works(node, graph) if node.op_type in _RECURRENT else [_product_work(node, graph)]
    if node.op_type not in _FREE:
        raise BenchError(
            f"cannot count the MACs of ONNX operator {node.op_type!r}: add its formula to bench/export/costs.py"
        )
    return []


def _product_work(node: Any, graph: OnnxGraph) -> Work:
    form = _PRODUCTS[node.op_type]
    left, right = node.input[0], _operand(node, form.weight)
    # a matrix may also stand to the left; a product of two activations, as in attention, has no weight
    axis = 0 if node.op_type in _CONVOLUTIONS or any(a.name == "transB" and a.i for a in node.attribute) else -1
    packed = _packed_weight(node, graph) if node.op_type == "MatMulNBits" else None
    weight = packed or graph.weight(right, _operand(node, form.zero_point), axis) or graph.weight(left)
    macs = _product_macs(node, graph, left, right)
    effective = macs if weight is None else round(macs * weight.nonzero / weight.size)
    bits = packed.bits if packed is not None else graph.bits(right)
    return macs, effective, macs * (64 if form.integer else graph.bits(left) * bits)


def _packed_weight(node: Any, graph: OnnxGraph) -> Weight:
    """That of MatMulNBits: (outputs, blocks, bytes) with a zero point for each block, K of all its inputs in use."""
    sizes = {a.name: a.i for a in node.attribute}
    bits, outputs, inputs = sizes["bits"], sizes["N"], sizes["K"]
    integers = _unpacked(graph.constants[node.input[1]], bits, outputs)
    blocks = integers.shape[1] // sizes["block_size"]
    if zeros := _operand(node, 3):
        zero = _unpacked(graph.constants[zeros], bits, outputs)[:, :blocks]
    else:
        zero = np.full((outputs, blocks), 1 << (bits - 1), np.uint8)
    nonzero = (integers != np.repeat(zero, sizes["block_size"], axis=1))[:, :inputs]
    return Weight(nonzero.size, int(nonzero.sum()), bits)


def _unpacked(tensor: Any, bits: int, rows: int) -> Any:
    """Bytes as integers of these bits, the lowest first, (rows, columns)."""
    values = numpy_helper.to_array(tensor).reshape(rows, -1, 1)
    return (values >> np.arange(0, 8, bits, dtype=np.uint8) & (1 << bits) - 1).reshape(rows, -1)


def _product_macs(node: Any, graph: OnnxGraph, left: str, right: str) -> int:
    made = prod(graph.shapes[node.output[0]])
    if node.op_type in _CONVOLUTIONS:  # (out, in / groups, *kernel) at each position of the result
        return made * prod(graph.shapes[right][1:])
    if node.op_type == "ConvTranspose":  # (in, out / groups, *kernel) at each position of the input
        return prod(graph.shapes[left]) * prod(graph.shapes[right][1:])
    if node.op_type == "Einsum":
        return _einsum_macs(node, [graph.shapes[name] for name in node.input])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return made * graph.shapes[left][0 if transposed else -1]


def _einsum_macs(node: Any, shapes: list[tuple[int, ...]]) -> int:
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


def _recurrent_works(node: Any, graph: OnnxGraph) -> list[Work]:
    """(T, B, I) through W (directions, gates H, I) and R (directions, gates H, H): all elements work at each step.

    What W is multiplied with may have few bits; the hidden state, which R is, never leaves the node.
    """
    steps, works = prod(graph.shapes[node.input[0]][:2]), []
    bits = (graph.bits(node.input[0]), 32)
    for name, zero, read in zip(node.input[1:3], _RECURRENT[node.op_type], bits, strict=True):
        weight = graph.weight(name, _operand(node, zero))
        size = prod(graph.shapes[name]) if weight is None else weight.size
        product = 64 if node.op_type == "DynamicQuantizeLSTM" else read * graph.bits(name)
        works.append((steps * size, steps * (size if weight is None else weight.nonzero), steps * size * product))
    return works


def _stored_weights(graph: OnnxGraph) -> int:
    """Elements of the weights and biases; scales, zero points and shape constants are none."""
    skipped = {name for node in graph.nodes for name in _scales(node, graph)}
    used = {name for node in graph.nodes for name in node.input} - skipped
    tensors = {name: tensor for name, tensor in graph.constants.items() if name in used and tensor.dims}
    sizes = {name: prod(t.dims) for name, t in tensors.items() if t.data_type != onnx.TensorProto.INT64}
    sizes |= {n.input[1]: _packed_weight(n, graph).size for n in graph.nodes if n.op_type == "MatMulNBits"}
    return sum(sizes.values())


def _scales(node: Any, graph: OnnxGraph) -> list[str]:
    """Operands that are scales or zero points of the quantisation, and no weights."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return list(node.input[1:])
    if node.op_type == "DynamicQuantizeLSTM":
        return list(node.input[8:])
    if node.op_type == "Mul":  # with the scale of an activation, behind an integer product, or with stored integers
        makers = [graph.makers[name] for name in node.input if name in graph.makers]
        scaled = any(maker.op_type == "DynamicQuantizeLinear" for maker in makers)
        stored = any(maker.op_type == "Cast" and graph.weight(maker.input[0]) is not None for maker in makers)
        return list(node.input) if scaled or stored else []
    form = _PRODUCTS.get(node.op_type, _Form())
    return [node.input[place] for place in form.scales if place < len(node.input)]
