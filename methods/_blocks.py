"""An exported model whose linear layers store their weights as integers, each block of inputs on a grid of its own."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits

from bench import Batch, Declined, OnnxModel
from methods._reconstruction import Array, gptq, hessians

_QUANTIZE = {4: quantize_matmul_4bits, 8: quantize_matmul_8bits}  # what ONNX Runtime's tool for MatMulNBits calls
_SMALLEST_BLOCK = 16


class Blocks(NamedTuple):
    """A weight (inputs, outputs) as MatMulNBits reads it: ``scale * (integer - zero)`` in each block of inputs."""

    bits: int
    size: int  # inputs of a block
    integers: Array  # (outputs, blocks, bytes), of 4 bits two in a byte, the lower half first
    scales: Array  # (outputs, blocks)
    zeros: Array  # (outputs, bytes)

    @classmethod
    def of(cls, weight: Array, bits: int, size: int) -> "Blocks":
        """ONNX Runtime's own rounding to the nearest; a block is no larger than the layer needs."""
        inputs, outputs = weight.shape
        size = min(size, max(_SMALLEST_BLOCK, 1 << (inputs - 1).bit_length()))
        count = -(-inputs // size)
        padded = np.zeros((count * size, outputs), np.float32)  # row by row, as it is read
        padded[:inputs] = weight
        integers = np.zeros((outputs, count, size * bits // 8), np.uint8)
        scales, zeros = np.zeros((outputs, count), np.float32), np.zeros((outputs, -(-count * bits // 8)), np.uint8)
        _QUANTIZE[bits](integers, padded, scales, zeros, size, outputs, inputs, False)
        return cls(bits, size, integers, scales, zeros)

    def grid(self, inputs: int) -> tuple[Array, Array]:
        """Scale and zero of each number, both (inputs, outputs)."""
        zeros = _halves(self.zeros)[:, : self.scales.shape[1]] if self.bits == 4 else self.zeros
        scales, zeros = (np.repeat(each, self.size, axis=1)[:, :inputs].T for each in (self.scales, zeros))
        return scales.astype(np.float64), zeros.astype(np.float64)

    def rounded(self, weight: Array, hessian: Array) -> "Blocks":
        """The same grid, with a weight (inputs, outputs) rounded as GPTQ does (``gptq``)."""
        scales, zeros = self.grid(len(weight))
        integers = gptq(weight, hessian, scales, zeros, (1 << self.bits) - 1)
        missing = self.scales.shape[1] * self.size - len(weight)
        numbers = np.pad(integers, ((0, missing), (0, 0))).T.astype(np.uint8)
        packed = numbers[:, ::2] | numbers[:, 1::2] << 4 if self.bits == 4 else numbers
        return self._replace(integers=packed.reshape(self.integers.shape))


def _halves(packed: Array) -> Array:
    return np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)


def in_blocks(model: OnnxModel, bits: int, size: int, batches: Iterable[Batch] = ()) -> OnnxModel:
    """The model with its linear layers' weights as integers and everything else as it was.

    Args:
        model: in floating point.
        bits: of each integer.
        size: inputs of a block, 16 or more, a power of two.
        batches: with these the rounding is GPTQ's, with what the layers read of them; without, to the nearest.

    Raises:
        Declined: no linear layer has a stored weight.
    """
    loaded = onnx.load_from_string(model.data)
    graph, stored = loaded.graph, {tensor.name: tensor for tensor in loaded.graph.initializer}
    layers = [node for node in graph.node if _is_linear(node, stored)]
    if not layers:
        raise Declined(
            "weight-only quantization has nothing to act on: the exported network has no linear layer with a stored "
            "weight (MatMul or Gemm); use quantization for convolutions and recurrent layers"
        )
    known = hessians(model, layers, batches)
    nodes = []
    for node in graph.node:
        if not _is_linear(node, stored):
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(stored[node.input[1]])
        weight = weight.T if any(a.name == "transB" and a.i for a in node.attribute) else weight
        blocks, own = Blocks.of(weight, bits, size), known.get(node.output[0])
        nodes += _layer(node, graph, blocks if own is None else blocks.rounded(weight, own[0]), len(weight))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    loaded.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return OnnxModel(loaded.SerializeToString())


def _is_linear(node: Any, stored: dict[str, Any]) -> bool:
    """Whether a node is ``x W`` or ``x W + b`` with a matrix W from the file."""
    if node.op_type not in ("MatMul", "Gemm") or len(getattr(stored.get(node.input[1]), "dims", ())) != 2:
        return False
    plain = {"transA": 0, "alpha": 1.0, "beta": 1.0}
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return all(given.get(name, value) == value for name, value in plain.items())


def _layer(node: Any, graph: Any, blocks: Blocks, inputs: int) -> Iterator[Any]:
    """Adds the integers of a linear layer to the file; yields the nodes that compute with them."""
    name, biases = node.output[0], list(node.input[2:])
    parts = {"integers": blocks.integers, "scales": blocks.scales, "zeros": blocks.zeros}
    graph.initializer.extend(numpy_helper.from_array(part, f"{name}_{of}") for of, part in parts.items())
    product = f"{name}_product" if biases else name
    shape = {"K": inputs, "N": len(blocks.integers), "bits": blocks.bits, "block_size": blocks.size}
    operands = [node.input[0], *(f"{name}_{of}" for of in parts)]
    yield helper.make_node("MatMulNBits", operands, [product], f"{name}_blocks", domain="com.microsoft", **shape)
    if biases:
        yield helper.make_node("Add", [product, *biases], [name], f"{name}_bias")
