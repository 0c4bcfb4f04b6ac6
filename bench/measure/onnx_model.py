"""A finished model as an ONNX file: made from a PyTorch module, or by a method that works on the format itself."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from bench.measure.attention import PlainAttention

#: the last opset of PyTorch's exporter that keeps batch and time free without tracing through torch.export
OPSET = 17


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model in deployment format: the bytes of an ONNX file with one input ``input`` and one output ``output``."""

    data: bytes

    def session(self, *, optimized: bool = True) -> onnxruntime.InferenceSession:
        """An ONNX Runtime session on one thread of the CPU; unless ``optimized``, it runs the graph node by node."""
        options = onnxruntime.SessionOptions()
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(self.data, options, providers=["CPUExecutionProvider"])


def export_onnx(model: nn.Module, example_input: Tensor) -> OnnxModel:
    """The model as ONNX, in eval mode, with free batch size and free last axis (time) of the input.

    PyTorch's TorchScript exporter is used on purpose: 0.1 s a model where the newer one takes 2 to 4 s, and it keeps
    the time axis of recurrent layers free.
    """
    example = torch.cat([example_input, example_input])  # a batch of one could be frozen as a constant
    free = {0: "batch", example.dim() - 1: "time"}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _plain_attention():
        warnings.simplefilter("ignore")  # it announces that it will be replaced
        torch.onnx.export(
            model.eval(),
            (example,),
            buffer,  # type: ignore[arg-type]  # a file object serves as well as a path
            opset_version=OPSET,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": free, "output": {0: "batch"}},
        )
    onnx.checker.check_model(onnx.load_from_string(buffer.getvalue()))
    return OnnxModel(buffer.getvalue())


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as operators of its own: the fused kernel of eval mode has no counterpart in ONNX."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with PlainAttention():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class Predictor:
    """Scores with ONNX Runtime what a task would score with a module: tensor in, tensor out."""

    def __init__(self, model: OnnxModel) -> None:
        self._session = model.session()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs for a batch of inputs."""
        output = self._session.run(None, {"input": np.ascontiguousarray(inputs.numpy())})[0]
        return torch.from_numpy(np.asarray(output))


logging.getLogger("torch.onnx").setLevel(logging.ERROR)
