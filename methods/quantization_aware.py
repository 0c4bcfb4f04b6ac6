"""Quantization-aware training: the network learns behind the rounding that its integer form will have."""

from dataclasses import dataclass
from itertools import islice

from torch import nn

from bench import Method, OnnxModel, Trainer, tune
from methods._integer import Ranges, is_static, quantized
from methods._rounding import Simulation


@dataclass(frozen=True)
class QuantizationAware(Method):
    """Training behind simulated int8 weights and features, then int8 (Jacob et al., arXiv 1712.05877).

    The ranges that convolutions (and in a network without attention or recurrence linear layers) have learned with go
    into the file; only what nothing was trained with is calibrated. These ranges and the steps of weights follow from
    the extremes, or with ``step_sizes="learned"`` are trained (LSQ, Esser et al., arXiv 1902.08153). Behind another
    method, as in ``magnitude_pruning+quantization_aware``, it trains on what that has left.
    """

    stage = "in_training"
    terminal = True
    promises = "bits"
    continues = True
    start: float = tune(0.5, choices=(0.0, 0.5, 0.8))  # share of its steps before anything is rounded
    step_sizes: str = tune("observed", choices=("observed", "learned"))
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Train, rounding from ``start`` on, keep the rounded weights, export, quantize."""
        first = trainer.steps_done + round(self.start * trainer.steps_left)
        static = is_static(trainer.export(model))
        learned = self.step_sizes == "learned"
        simulation = Simulation(model, lambda: trainer.steps_done >= first, static=static, learned=learned)
        trainer.fit(model, extra_parameters=[{"params": simulation.parameters, "weight_decay": 0.0}])
        probe = next(trainer.batches()).inputs[:1]
        ranges = Ranges(trained=simulation.fold(probe), probe=probe)
        batches = islice(trainer.batches(), self.calibration_batches)
        return quantized(trainer.export(model), batches, trainer.note, ranges)
