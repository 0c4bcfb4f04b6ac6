"""N:M sparsity of a trained network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Declined, Masks, Method, Trainer, tune


@dataclass(frozen=True)
class NmPruning(Method):
    """Of every four weights in a row keep the two largest, and fine-tune (Mishra et al., arXiv 2104.08378).

    A row are the inputs of one output, as sparse tensor cores of GPUs read them; ``pattern`` is ``2:4``, ``1:4`` or
    ``4:8``. A layer whose inputs the pattern does not divide stays dense, and is named. ONNX Runtime on a CPU has no
    kernel for it: nothing becomes faster there.
    """

    stage = "post_hoc"
    promises = "mask"
    pattern: str = tune("2:4", choices=("2:4", "1:4", "4:8"))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Mask by magnitude, fine-tune."""
        kept, of = map(int, self.pattern.split(":"))
        widths = trainer.widths(model)
        axis = {f"{name}.weight": 1 for name, layer in model.named_modules() if getattr(layer, "transposed", False)}
        weights = {name: model.get_parameter(name) for name in widths.weight_macs}
        fitting = [name for name, w in weights.items() if w.numel() // w.shape[axis.get(name, 0)] % of == 0]
        if not fitting:
            raise Declined(f"pattern {self.pattern} divides the inputs of no layer")
        if left := [name.removesuffix(".weight") for name in weights if name not in fitting]:
            trainer.note(f"{self.pattern} does not divide the inputs of {', '.join(left)}: dense")
        masks = Masks(widths, fitting, taps=True)
        masks.set({name: _strongest(full, kept, of, axis.get(name, 0)) for name, full in masks.full().items()})
        trainer.fit(model)
        masks.fold()
        return model


@torch.no_grad()
def _strongest(full: Tensor, kept: int, of: int, axis: int) -> Tensor:
    """Ones at the largest of every so many weights of an output (this axis), whose inputs come before its taps."""
    weight = full.transpose(0, axis)
    rows = weight.flatten(2).transpose(1, 2).flatten(1) if weight.dim() > 2 else weight
    groups = rows.abs().reshape(-1, of)
    mask = torch.zeros_like(groups).scatter_(1, groups.topk(kept, dim=1).indices, 1.0).view_as(rows)
    if weight.dim() > 2:
        mask = mask.view(len(weight), -1, weight.shape[1]).transpose(1, 2)
    return mask.reshape_as(weight).transpose(0, axis)
