"""Weight-only quantization: linear layers store their weights in 4 or 8 bits and compute with floats."""

from dataclasses import dataclass
from itertools import islice

from torch import nn

from bench import Method, OnnxModel, Trainer, tune
from methods._blocks import in_blocks


@dataclass(frozen=True)
class WeightOnly(Method):
    """Weights of linear layers as integers, each block of inputs with its own scale and zero (arXiv 2206.01861).

    ONNX Runtime executes them as ``MatMulNBits``; features and all other layers stay in floating point. The weights are
    rounded to the nearest integer, or with ``rounding="gptq"`` one input after the other, each making up for the errors
    of those before on ``calibration_batches`` of train data (Frantar et al., arXiv 2210.17323); all layers read the
    features of the network that is not rounded. The training steps that are left are spent before.
    """

    stage = "post_hoc"
    terminal = True
    promises = "bits"
    bits: int = tune(4, choices=(4, 8))
    block_size: int = tune(32, choices=(16, 32, 128))
    rounding: str = tune("nearest", choices=("nearest", "gptq"))
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Fine-tune with what is left, export, round."""
        trainer.fit(model)
        batches = islice(trainer.batches(), self.calibration_batches if self.rounding == "gptq" else 0)
        return in_blocks(trainer.export(model), self.bits, self.block_size, batches)
