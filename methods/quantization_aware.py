"""Quantization-aware training: the network learns behind the rounding that its integer form will have."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from bench import Method, OnnxModel, Trainer
from methods._integer import quantized


class _Rounding(nn.Module):
    """Rounds the weight of a layer and the features that it reads to 8 bits; gradients pass straight through."""

    def __init__(self, active: Callable[[], bool]) -> None:
        super().__init__()
        self.active = active
        self.range: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, rounded for each output channel."""
        if not self.active():
            return weight
        scale = weight.detach().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        return torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros_like(scale), 0, -127, 127)

    def features(self, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """The features, rounded within the range seen lately."""
        low, high = inputs[0].detach().aminmax()
        seen = torch.stack([low.clamp(max=0), high.clamp(min=0)])
        self.range = seen if self.range is None else torch.lerp(self.range, seen, 0.1)
        if not self.active():
            return inputs
        scale = ((self.range[1] - self.range[0]) / 255).clamp(min=1e-12)
        zero = (-self.range[0] / scale).round().int()
        return (torch.fake_quantize_per_tensor_affine(inputs[0], scale, zero, 0, 255),)


@dataclass(frozen=True)
class QuantizationAware(Method):
    """Training behind simulated int8 convolutions and linear layers, then int8 (Jacob et al., arXiv 1712.05877)."""

    stage = "in_training"
    terminal = True
    promises = "bits"
    start: float = 0.5  # share of the steps before anything is rounded
    calibration_batches: int = 8

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Train, rounding from ``start`` on, keep the rounded weights, export, calibrate, quantize."""
        layers = [m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))]
        first = trainer.steps_done + round(self.start * trainer.steps_left)
        roundings = [_Rounding(lambda: trainer.steps_done >= first) for _ in layers]
        hooks = [m.register_forward_pre_hook(r.features) for m, r in zip(layers, roundings, strict=True)]
        for layer, rounding in zip(layers, roundings, strict=True):
            register_parametrization(layer, "weight", rounding)
        trainer.fit(model)
        for layer, hook in zip(layers, hooks, strict=True):
            hook.remove()
            remove_parametrizations(layer, "weight")
        return quantized(trainer.export(model), islice(trainer.batches(), self.calibration_batches), trainer.note)
