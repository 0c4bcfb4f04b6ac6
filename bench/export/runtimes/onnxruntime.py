"""ONNX Runtime: the default, which also counts what files cost."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TITLE = "ONNX Runtime"


def session(data: bytes, threads: int, *, optimized: bool = True, profile: Path | None = None) -> Any:
    """The library's own session, for those who read the file; unless ``optimized``, it computes node by node.

    With ``profile`` it times every kernel, for a file whose path begins so.
    """
    import onnxruntime  # a report needs the title alone

    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads > 1:  # they would go on spinning while another file is timed
        options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Session:
    """A file in ONNX Runtime."""

    def __init__(self, data: bytes, threads: int) -> None:
        self._session = session(data, threads)
        self._names = [own.name for own in self._session.get_inputs()]

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(self._session.run(None, dict(zip(self._names, inputs, strict=True)))[0])
