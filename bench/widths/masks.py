"""Masks on the connections of a model: zeros in its weights that cost no multiply-accumulates in theory.

A connection is a pair of channels with all the taps of a convolution between them, or a single weight. Masks delete by
compute, not by count: a weight that is used at many positions is worth as many MACs.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.errors import BudgetError
from bench.widths.widths import Widths


class _Masked(nn.Module):
    """A parametrization: the full weights stay trainable values of their own, so that they can come back."""

    factor: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones_like(weight))
        self.watched = False
        self.result: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        masked = weight * self.factor
        if self.watched and masked.requires_grad:
            masked.retain_grad()
            self.result = masked
        return masked

    def gradient(self) -> Tensor:
        """Of the masked weight, in the last step that was watched; it is forgotten then."""
        assert self.result is not None and self.result.grad is not None
        gradient, self.result = self.result.grad, None
        return gradient


class Masks:
    """Masks on weights of a model, which are in force from the first ``keep_first`` on.

    Args:
        widths: the width graph of the model.
        tensors: names of the weights; all that take part in products unless given.
        taps: single weights of convolutions are connections, not pairs of channels.
    """

    def __init__(self, widths: Widths, tensors: Iterable[str] | None = None, *, taps: bool = False) -> None:
        macs = widths.weight_macs
        self._taps = taps
        self._at: dict[str, tuple[nn.Module, str]] = {}
        for name in sorted(macs if tensors is None else set(tensors)):
            layer, _, own = name.rpartition(".")
            self._at[name] = (widths.model.get_submodule(layer), own)
        for module, own in self._at.values():
            parametrize.register_parametrization(module, own, _Masked(getattr(module, own)))
        self._masked: dict[str, Any] = {n: layer.parametrizations[own] for n, (layer, own) in self._at.items()}  # type: ignore[index]
        self._cost = {name: macs[name] / self._connections(full).numel() for name, full in self.full().items()}
        self._maskable = sum(macs[name] for name in self._at) / widths.reference_macs
        self._fixed: float = widths.macs({}) / widths.reference_macs - self._maskable

    def density(self, budget: float) -> float:
        """The share of the masked weights' MACs that stays where this share of the dense model's MACs does.

        Raises:
            BudgetError: the budget is below what no mask acts on, such as products of two activations.
        """
        if budget <= self._fixed:
            raise BudgetError(
                f"budget {budget:g}: masks have no effect on {self._fixed:.4f} of the dense compute (products of "
                "activations, or weights that are not masked); ask for more, mask more weights, or remove channels"
            )
        return min(1.0, (budget - self._fixed) / self._maskable)

    def full(self) -> dict[str, Tensor]:
        """The weights behind the masks."""
        return {name: masked.original for name, masked in self._masked.items()}

    def alive(self) -> dict[str, Tensor]:
        """Which connections are alive, (out, in) or as the weight itself."""
        return {name: self._connections(masked[0].factor) > 0 for name, masked in self._masked.items()}

    def strengths(self) -> dict[str, Tensor]:
        """How strong each connection is, masked or not: the root mean square of its full weights."""
        return {name: self._connections(full.detach()) for name, full in self.full().items()}

    @torch.no_grad()
    def keep_first(self, entries: Mapping[str, Tensor], density: float, *, rescale: bool = False) -> None:
        """Keep the connections of least entry, as many as this share of all their MACs pays for.

        Args:
            entries: of each connection, shaped as ``strengths``.
            density: share of the MACs.
            rescale: multiply the weights that each output has left by sqrt(fan-in / those left), so that the variance
                of what it receives stays the same.
        """
        flat = torch.cat([entries[name].flatten().double() for name in self._at])
        costs = torch.cat([flat.new_full((entries[name].numel(),), cost) for name, cost in self._cost.items()])
        order = flat.argsort(stable=True)
        spent = costs[order].cumsum(0)
        kept = torch.zeros_like(flat, dtype=torch.bool)
        kept[order] = spent <= density * float(spent[-1]) * (1 + 1e-9)
        parts = torch.split(kept, [entries[name].numel() for name in self._at])
        chosen = {}
        for (name, (layer, _)), part in zip(self._at.items(), parts, strict=True):
            mask = part.view_as(entries[name]).float()
            if rescale:
                transposed = int(isinstance(layer, nn.modules.conv._ConvTransposeNd))
                others = [axis for axis in range(mask.dim()) if axis != transposed]
                mask /= mask.mean(others, keepdim=True).sqrt().clamp(min=1e-6)
            chosen[name] = mask
        self.set(chosen)

    def set(self, alive: Mapping[str, Tensor]) -> None:
        """The masks themselves, zeros and factors, shaped as ``strengths``."""
        for name, masked in self._masked.items():
            factor = masked[0].factor
            factor.copy_(alive[name].float().view(*alive[name].shape, *[1] * (factor.dim() - alive[name].dim())))

    def watch_gradients(self, on: bool) -> None:
        """Keep the gradients of all weights in the next step, those of masked ones too."""
        for masked in self._masked.values():
            masked[0].watched = on

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the last step that was watched, shaped as the weights."""
        return {name: masked[0].gradient() for name, masked in self._masked.items()}

    def fold(self) -> None:
        """Make the masks part of the weights and leave a plain model."""
        for layer, own in self._at.values():
            parametrize.remove_parametrizations(layer, own, leave_parametrized=True)

    def _connections(self, weight: Tensor) -> Tensor:
        if self._taps or weight.dim() < 3:
            return weight.abs()
        return weight.flatten(2).square().mean(2).sqrt()


def rank_shares(strengths: Tensor) -> Tensor:
    """The share of a weight's connections that are stronger than each, in (0, 1)."""
    order = strengths.flatten().argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ((ranks + 0.5) / len(ranks)).view_as(strengths)
