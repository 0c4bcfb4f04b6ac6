"""An exported model that computes with integers of few bits, simulated: operands lie on grids, sums are of floats.

Each operand of a product is rounded in the file itself: a weight is stored as integers, features become integers as
they come. A Clip holds both to the range of their bits, so that whoever reads the file knows how many there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench import Batch, OnnxModel
from methods._reconstruction import Array, activations, output_axis

RECURRENT = ("GRU", "LSTM", "RNN")
SHARES = np.linspace(1.0, 0.3, 15)  # of the largest number, at which a grid may end
SEEN = 1 << 12  # numbers of a tensor that its grids are chosen by, of each batch


class Operand(NamedTuple):
    """One side of the product of a node: features, or weights of the file."""

    node: str  # its first output
    places: tuple[int, ...]  # among the inputs of the node
    axes: tuple[int, ...] | None  # along which a weight has steps of its own; None for features


class Operands:
    """The operands of a model's products, and the model with these on grids.

    Args:
        model: in floating point.
        nodes: first outputs of the nodes that multiply.
        batches: what features are seen from.

    Attributes:
        of: the two operands of each node, the left one first.
    """

    def __init__(self, model: OnnxModel, nodes: Iterable[str], batches: Iterable[Batch]) -> None:
        self._data, names = model.data, {*nodes}
        graph = onnx.load_from_string(model.data).graph
        self._stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        multiplying = [node for node in graph.node if node.output[0] in names]
        self.of = {node.output[0]: self._operands(node) for node in multiplying}
        read = {node.input[o.places[0]] for node in multiplying for o in self.of[node.output[0]] if o.axes is None}
        samples: dict[str, list[Array]] = {name: [] for name in sorted(read)}
        for values in activations(model, [*samples], batches):
            for name, sample in samples.items():
                sample.append(values[name].ravel()[:: max(1, values[name].size // SEEN)])
        seen = {name: np.concatenate(sample) for name, sample in samples.items()}
        self._features = cache(lambda name, bits: feature_grid(seen[name], bits))
        self._weights = cache(lambda name, axes, bits: weight_grid(self._stored[name], axes, bits))

    def _operands(self, node: Any) -> tuple[Operand, Operand]:
        name = node.output[0]
        if node.op_type in RECURRENT:  # (directions, rows, columns)
            return Operand(name, (0,), None), Operand(name, (1, 2), (0, 1))
        left, right = node.input[:2]
        last = len(self._stored[right].shape) - 1 if right in self._stored else 0
        along = (last if node.op_type == "MatMul" else output_axis(node),)
        axes = (0,) if left in self._stored else None, along if right in self._stored else None
        return Operand(name, (0,), axes[0]), Operand(name, (1,), axes[1])

    def file(self, bits: Mapping[Operand, int]) -> OnnxModel:
        """The model with these operands in so many bits."""
        loaded = onnx.load_from_string(self._data)
        graph, nodes = loaded.graph, list[Any]()
        for node in graph.node:
            for operand in self.of.get(node.output[0], ()):
                for place in operand.places if operand in bits else ():
                    nodes += self._rounding(graph, node, place, operand.axes, bits[operand])
            nodes.append(node)
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
            graph.initializer.remove(tensor)
        return OnnxModel(loaded.SerializeToString())

    def _rounding(self, graph: Any, node: Any, place: int, axes: tuple[int, ...] | None, bits: int) -> Iterator[Any]:
        """Nodes that round an input of a node, which then reads their result."""
        source, name = node.input[place], f"{node.output[0]}_{place}"
        own = name if axes is None else f"{source}_{bits}_bits"  # a weight that several nodes share is stored once
        if axes is None:
            scale, zero = self._features(source, bits)
            parts = {"scale": scale, "zero": zero, "low": np.uint8(0), "high": np.uint8((1 << bits) - 1)}
            yield helper.make_node("QuantizeLinear", [source, f"{own}_scale", f"{own}_zero"], [f"{own}_integers"])
            floats = ("DequantizeLinear", [f"{name}_clipped", f"{own}_scale", f"{own}_zero"])
        else:
            integers, steps = self._weights(source, axes, bits)
            top = np.int8((1 << bits - 1) - 1)
            parts = {"integers": integers, "scale": steps, "low": -top, "high": top}
            floats = ("Mul", [f"{name}_cast", f"{own}_scale"])
        yield helper.make_node("Clip", [f"{own}_integers", f"{own}_low", f"{own}_high"], [f"{name}_clipped"])
        if axes is not None:
            yield helper.make_node("Cast", [f"{name}_clipped"], [f"{name}_cast"], to=TensorProto.FLOAT)
        yield helper.make_node(*floats, [f"{name}_rounded"])
        stored = {tensor.name for tensor in graph.initializer}
        new = {f"{own}_{of}": np.asarray(part) for of, part in parts.items() if f"{own}_{of}" not in stored}
        graph.initializer.extend(numpy_helper.from_array(values, each) for each, values in new.items())
        node.input[place] = f"{name}_rounded"


def weight_grid(values: Array, axes: tuple[int, ...], bits: int) -> tuple[Array, Array]:
    """Integers from ``-(2^(bits - 1) - 1)`` to its opposite, and the steps along these axes of least squared error.

    Returns:
        Integers in the shape of the values, and steps in one that is broadcast to it.
    """
    top, others = (1 << bits - 1) - 1, tuple(axis for axis in range(values.ndim) if axis not in axes)
    extremes = np.maximum(np.abs(values).max(others, keepdims=True), np.finfo(np.float32).tiny * top)
    least, steps = np.full(extremes.shape, np.inf), extremes / top
    for tried in (extremes / top * share for share in SHARES):
        integers = np.clip(np.rint(values / tried), -top, top)
        errors = np.square(integers * tried - values).sum(others, keepdims=True)
        steps, least = np.where(errors < least, tried, steps), np.minimum(errors, least)
    return np.clip(np.rint(values / steps), -top, top).astype(np.int8), steps.astype(np.float32)


def feature_grid(values: Array, bits: int) -> tuple[Array, Array]:
    """Step and zero of the grid from 0 to ``2^bits - 1`` of least squared error, which has a zero."""
    top, low, high = (1 << bits) - 1, min(float(values.min()), 0.0), max(float(values.max()), 0.0)

    def grid(share: float) -> tuple[float, float, float]:
        step = max(share * (high - low), 1e-12) / top
        zero = round(-share * low / step)
        rounded = (np.clip(np.rint(values / step) + zero, 0, top) - zero) * step
        return float(np.square(rounded - values).sum()), step, zero

    _, step, zero = min(map(grid, SHARES), key=lambda tried: tried[0])
    return np.array(step, np.float32), np.array(zero, np.uint8)
