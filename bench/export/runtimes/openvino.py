"""OpenVINO: an extra. It has kernels of its own for sparse weights and for integers."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

TITLE = "OpenVINO"


class Session:
    """A file in OpenVINO."""

    def __init__(self, data: bytes, threads: int) -> None:
        # it reports that it was imported, heeds no variable, and does without where the package for that is missing
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,  # one call at a time
            "INFERENCE_PRECISION_HINT": "f32",  # it computes in bf16 where a processor can, unless it is told
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # and rounds features to integers where weights are stored as such
        }
        self._request = core.compile_model(core.read_model(data, b""), "CPU", options).create_infer_request()

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(self._request.infer(list(inputs), share_inputs=True)[0])
