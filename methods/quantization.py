"""Post-training quantization to 8-bit integers, as ONNX Runtime executes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from torch import nn

from bench import Batch, Method, OnnxModel, Trainer, tune
from methods._integer import CALIBRATIONS, Ranges, largest_integer, quantized
from methods._reconstruction import ROUNDINGS, on_grid


@dataclass(frozen=True)
class Quantization(Method):
    """Int8, with ranges of activations from train data (Jacob et al., arXiv 1712.05877).

    Convolutional networks are quantized statically, but for first convolutions that read fewer than sixteen channels
    and what is neither layer nor between layers, which are faster in floats. In networks with recurrent layers or
    attention, linear layers and LSTMs are quantized dynamically instead; GRU weights are stored in 8 bits, which makes
    the file smaller, not faster.
    Weights of convolutions and linear layers are rounded to the nearest integer, or so that what each output makes of
    the calibration data changes less: by GPTQ (arXiv 2210.17323), or up or down by the objective of AdaRound
    (arXiv 2004.10568), descended one weight at a time.
    The training steps that are left are spent before calibration, so that it costs the same as any other method.
    The accuracy that counts is that of the exported integer model.
    """

    stage = "post_hoc"
    terminal = True
    promises = "bits"
    calibration: str = tune("minmax", choices=(*CALIBRATIONS,))
    calibration_batches: int = tune(8, choices=(2, 8, 32))
    per_channel: bool = tune(True, choices=(True, False))
    rounding: str = tune("nearest", choices=(*ROUNDINGS,))

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Fine-tune with what is left, export, calibrate, quantize."""
        trainer.fit(model)
        exported, ranges = trainer.export(model), Ranges(self.calibration, self.per_channel)
        if self.rounding != "nearest":
            top = largest_integer(ranges.reduced)
            exported = on_grid(exported, self._read(trainer), self.rounding, top, per_channel=self.per_channel)
        return quantized(exported, self._read(trainer), trainer.note, ranges)

    def _read(self, trainer: Trainer) -> Iterator[Batch]:
        return islice(trainer.batches(), self.calibration_batches)
