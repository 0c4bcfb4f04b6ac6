"""What the exported file costs, read from its graph: the same counting for every method, whatever made the file."""

from dataclasses import dataclass
from math import prod

import onnx

from bench.errors import BenchError
from bench.measure.graph import Graph
from bench.measure.onnx_model import OnnxModel
from bench.measure.products import COSTLY, scales, work

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
                f"cannot count the MACs of ONNX operator {node.op_type!r}: add its formula to bench/measure/products.py"
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
