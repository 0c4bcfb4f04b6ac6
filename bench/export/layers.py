"""Where an exported model spends its time: kernels of ONNX Runtime, as its profiler times them, by layer."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from torch import Tensor, nn

from bench.export.costs import OnnxGraph
from bench.export.model import OnnxModel

CALLS = 100
_SUFFIX = "_kernel_time"
_SELECTED = "model."  # attribute of a ``Selection``, in which everything else lies
_FUSED = "fused "  # with an activation: a linear layer, such as "fused /9/Gemm"


def weighty_layers(model: nn.Module) -> list[str]:
    """The names of the modules that multiply by weights of their own, in the order of the model."""
    owners = (name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.dim() > 1)
    return list(dict.fromkeys(owners))


def layer_latency_ms(model: OnnxModel, inputs: Tensor, layers: Collection[str]) -> dict[str, float]:
    """Time in the kernels of each layer, in their order, median over calls on one thread; last of no layer, under "".

    ONNX Runtime fuses operators: a layer has the norm and activation that became part of its kernel. The profiler
    itself adds some microseconds to every kernel, so small ones look larger than they are.

    Args:
        model: with the names that ``export_onnx`` gives its nodes.
        inputs: one unit of work.
        layers: names of modules; a kernel belongs to the innermost one that it lies in. In a model that reads some
            entries of its input only, they are those of the model inside.
    """
    graph = OnnxGraph(model, tuple(inputs.shape))
    spent = dict.fromkeys((*layers, ""), 0.0)
    for kernel, operator, ms in _kernels(model, inputs):
        module = _module(_origin(kernel, operator, graph))
        spent[_layer_of(module, layers) or _layer_of(module.removeprefix(_SELECTED), layers)] += ms
    return {layer: ms for layer, ms in spent.items() if ms}


def _layer_of(module: str, layers: Collection[str]) -> str:
    return max((layer for layer in layers if f"{module}.".startswith(f"{layer}.")), key=len, default="")


def _kernels(model: OnnxModel, inputs: Tensor) -> Iterator[tuple[str, str, float]]:
    """Name, operator and median time in ms of every kernel."""
    with tempfile.TemporaryDirectory() as folder:
        session = model.session(profile=Path(folder, "profile"))
        for _ in range(CALLS):
            session.run(None, {"input": np.ascontiguousarray(inputs.numpy())})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            kernel = event["name"].removesuffix(_SUFFIX).removeprefix(_FUSED)
            times[kernel, event["args"]["op_name"]].append(event["dur"] / 1e3)
    return ((name, operator, median(several)) for (name, operator), several in times.items())


def _origin(kernel: str, operator: str, graph: OnnxGraph) -> str:
    """The name of the node that a kernel was made from: it begins with it, or, fused, with one that follows it."""
    node = max((node for node in graph.nodes if kernel.startswith(node.name)), key=lambda n: len(n.name), default=None)
    while node is not None and "Conv" in operator and not node.op_type.startswith("Conv"):
        node = graph.makers.get(node.input[0]) if node.input else None
    return "" if node is None else str(node.name)


def _module(node: str) -> str:
    """The module that a node was traced in: ``/stages/stages.1/conv/Conv`` lies in ``stages.1.conv``.

    The exporter names modules by their attribute, and items of a list by that of the list as well.
    """
    path, last = "", ""
    for part in node.split("/")[1:-1]:
        item = last and part.startswith(f"{last}.")
        path, last = (path.removesuffix(last) + part if item else f"{path}.{part}".lstrip(".")), part
    return path
