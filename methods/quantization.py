"""Post-training quantization to 8-bit integers, as ONNX Runtime executes it."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from bench import Batch, Method, OnnxModel, Trainer


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Feeds batches of the train split to ONNX Runtime's calibrator."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch.inputs.numpy()}


@dataclass(frozen=True)
class Quantization(Method):
    """Static int8: weights per output channel, activations calibrated on train data (Jacob et al., arXiv 1712.05877).

    The training steps that are left are spent before calibration, so that it costs the same as any other method.
    The accuracy that counts is that of the exported integer model.
    """

    stage = "post_hoc"
    terminal = True
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Fine-tune with what is left, export, calibrate, quantize."""
        trainer.fit(model)
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, result = (str(Path(folder) / f"{name}.onnx") for name in ("source", "prepared", "int8"))
            Path(source).write_bytes(trainer.export(model).data)
            quant_pre_process(source, prepared)
            quantize_static(
                prepared,
                result,
                _Calibration(itertools.islice(trainer.batches(), self.calibration_batches)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return OnnxModel(Path(result).read_bytes())
