"""Post-training quantization to 8-bit integers, as ONNX Runtime executes it."""

import itertools
from dataclasses import dataclass

from torch import nn

from bench import Method, OnnxModel, Trainer, tune
from methods._integer import CALIBRATIONS, Ranges, quantized


@dataclass(frozen=True)
class Quantization(Method):
    """Int8, with ranges of activations from train data (Jacob et al., arXiv 1712.05877).

    Convolutional networks are quantized statically. In networks with recurrent layers or attention, linear layers and
    LSTMs are quantized dynamically instead; GRU weights are stored in 8 bits, which makes the file smaller, not faster.
    The training steps that are left are spent before calibration, so that it costs the same as any other method.
    The accuracy that counts is that of the exported integer model.
    """

    stage = "post_hoc"
    terminal = True
    promises = "bits"
    calibration: str = tune("minmax", choices=(*CALIBRATIONS,))
    calibration_batches: int = tune(8, choices=(2, 8, 32))
    per_channel: bool = tune(True, choices=(True, False))

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Fine-tune with what is left, export, calibrate, quantize."""
        trainer.fit(model)
        batches = itertools.islice(trainer.batches(), self.calibration_batches)
        return quantized(trainer.export(model), batches, trainer.note, Ranges(self.calibration, self.per_channel))
