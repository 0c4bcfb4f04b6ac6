"""Peak memory of an exported model: the activations that are alive at the same time, read from its graph."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from bench.export.model import OnnxModel

#: operators whose result takes the place of what they read: views, and functions of single elements
_IN_PLACE = set(
    """
    Identity Reshape Squeeze Unsqueeze Flatten Relu LeakyRelu Sigmoid Tanh Clip Erf Exp Log Sqrt Neg Abs HardSigmoid
    HardSwish Elu Selu Celu Softplus Softsign Gelu QuickGelu FastGelu Dropout
    """.split()
)


def peak_memory_bytes(model: OnnxModel, input_shape: tuple[int, ...]) -> int:
    """Bytes of the activations that are alive at the same time, at most, for an input of this shape.

    The graph is the one that ONNX Runtime makes of the file on any processor: with layers and their activations as one
    operator, and integers where the file rounds. Its nodes run in their order; a tensor lives from the node that makes
    it to the last that reads it, views share the memory of what they show, and functions of single elements are
    computed in place. Weights are not in it, nor what an operator needs while it works, nor the channels that a
    processor's kernels add to fill their vectors.
    """
    loaded = _fused(model)
    nodes = [node for node in loaded.graph.node if node.op_type != "Constant"]
    outputs = [output.name for output in loaded.graph.output]
    sizes = _computed(loaded, input_shape)
    shown: dict[str, str] = {}  # by name of a tensor, the one whose memory it has
    for node in nodes:
        if node.op_type in _IN_PLACE and node.input[0] in sizes:
            shown[node.output[0]] = shown.get(node.input[0], node.input[0])
    last = {shown.get(name, name): place for place, node in enumerate(nodes) for name in node.input}
    last |= {shown.get(name, name): len(nodes) for name in outputs}
    alive = {loaded.graph.input[0].name: sizes[loaded.graph.input[0].name]}
    peak = 0
    for place, node in enumerate(nodes):
        alive |= {name: sizes[name] for name in node.output if name in sizes and name not in shown}
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > place}
    return peak


def _fused(model: OnnxModel) -> Any:
    """What the runtime makes of the file, short of what depends on the processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "fused.onnx"))
        onnxruntime.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _computed(loaded: Any, input_shape: tuple[int, ...]) -> Mapping[str, int]:
    """Bytes of the input and of every tensor that follows from it."""
    source = loaded.graph.input[0]
    moving = {source.name}
    for node in loaded.graph.node:
        if moving.intersection(node.input):
            moving.update(filter(None, node.output))
    there = {output.name for output in loaded.graph.output}
    loaded.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(moving - there - {source.name}))
    session = OnnxModel(loaded.SerializeToString()).session(optimized=False)
    zeros = np.zeros(input_shape, helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type))
    made = dict(
        zip((output.name for output in session.get_outputs()), session.run(None, {source.name: zeros}), strict=True)
    )
    return {source.name: zeros.nbytes, **{name: made[name].nbytes for name in moving & made.keys()}}
