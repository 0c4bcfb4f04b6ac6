"""An ONNX graph as it runs for one shape of input: the shapes, the stored weights and their bits."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.measure.onnx_model import OnnxModel

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
