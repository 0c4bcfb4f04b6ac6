"""What each operator of ONNX that multiplies and accumulates costs."""

from dataclasses import dataclass
from math import prod
from typing import Any

from bench.errors import BenchError
from bench.measure.graph import Graph


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
