"""Budgeted Broadcast: busy units speak to few, quiet ones to many (Meirovitch et al. 2025, arXiv 2510.01263).

Maximising the coding entropy of the units under a budget of total traffic, on-rate x fan-out, balances each unit at
log((1 - a) / a) = beta k. Fan-outs are shares of the unit's full fan-out here, so that one beta and one offset serve
layers of different size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench import Widths

MOMENTUM = 0.95  # of the moving average of the on-rates
OBSERVED = 4  # every so many steps: looking at all activations costs a tenth of a step
FEWEST = 4  # outgoing weights that every unit keeps


class _Masked(nn.Module):
    """A parametrization: the full weights stay trainable values of their own, so that they can come back."""

    factor: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


class Broadcast:
    """Keeps the on-rate of every unit of a model, and prunes outgoing weights by the balance at a given density.

    Args:
        widths: the width graph of the model; its units are the channels of all groups.
        density: share of the outgoing weights of all units that stay, met exactly.
        beta: how strongly the on-rate decides the fan-out; infinity is plain row-wise magnitude.
        burn_in: steps before the first mask.
        interval: steps from one mask to the next.
        last: step after which the masks stay as they are.
    """

    def __init__(self, widths: Widths, density: float, beta: float, *, burn_in: int, interval: int, last: int) -> None:
        self.density, self.beta, self.burn_in, self.interval, self.last = density, beta, burn_in, interval, last
        self.on_rates = {group.name: torch.full((group.size,), 0.5) for group in widths.groups}
        self._groups = {group.name: group for group in widths.groups}
        consumers = {(m.layer, m.parameter) for group in widths.groups for m in group.consumers}
        self._weights = {at: (widths.model.get_submodule(at[0]), at[1]) for at in sorted(consumers)}
        self._observing = True
        for layer, name in self._weights.values():
            parametrize.register_parametrization(layer, name, _Masked(getattr(layer, name)))

    def observers(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Gates that change nothing and keep the on-rates of the features they see."""
        return {name: self._observer(self.on_rates[name], group.recurrent) for name, group in self._groups.items()}

    def after_step(self, step: int) -> None:
        """Refresh the masks when it is time."""
        self._observing = step % OBSERVED == 0 and step < self.last
        if self.burn_in <= step <= self.last and (step - self.burn_in) % self.interval == 0:
            self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """New masks: of every unit the largest weights, as many as the balance grants."""
        rows = {name: self._rows(name) for name in self._groups}
        fans = torch.cat([torch.full((len(r),), float(r.shape[1])) for r in rows.values()])
        rates = torch.cat(list(self.on_rates.values())).clamp(1e-3, 1 - 1e-3)
        kept = balanced_fan_out(rates, fans, self.density, self.beta)
        for (name, row), counts in zip(rows.items(), torch.split(kept, [len(r) for r in rows.values()]), strict=True):
            order = row.argsort(dim=1, descending=True)
            rank = torch.empty_like(order).scatter_(1, order, torch.arange(row.shape[1]).expand_as(order))
            scale = (row.shape[1] / counts).sqrt()  # keeps the variance of what a unit sends
            self._set_factors(name, (rank < counts[:, None]) * scale[:, None].to(row))

    def fold(self) -> None:
        """Make the masks part of the weights and leave a plain model."""
        for layer, name in self._weights.values():
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)

    def _observer(self, rate: Tensor, recurrent: bool) -> Callable[[Tensor, Tensor], Tensor]:
        @torch.no_grad()
        def observe(features: Tensor, channels: Tensor) -> Tensor:
            weights = recurrent and features.dim() == 2  # a recurrence shows its weights, its readers show features
            if self._observing and not weights:
                on = (features > 0).float().mean([0, *range(2, features.dim())])
                on, channels = on.cpu(), channels.cpu()
                mean = torch.bincount(channels, on, len(rate)) / torch.bincount(channels, minlength=len(rate))
                rate.lerp_(mean.to(rate), 1 - MOMENTUM)
            return features

        return observe

    def _outgoing(self, name: str) -> list[tuple[Any, int, Tensor]]:
        """What reads a group: masked weight, axis of the channels, their positions along it, channel by channel."""
        found = []
        for m in self._groups[name].consumers:
            layer, own = self._weights[m.layer, m.parameter]
            masked = layer.parametrizations[own]  # type: ignore[index]
            found.append((masked, m.axis, m.positions[m.channels.argsort(stable=True)]))
        return found

    def _rows(self, name: str) -> Tensor:
        """|outgoing weights| of each unit of a group: (size, fan-out)."""
        size = len(self.on_rates[name])
        rows = [
            masked.original.abs().transpose(0, axis)[at].reshape(size, -1) for masked, axis, at in self._outgoing(name)
        ]
        return torch.cat(rows, dim=1).cpu()

    def _set_factors(self, name: str, factors: Tensor) -> None:
        start = 0
        for masked, axis, positions in self._outgoing(name):
            factor = masked[0].factor.transpose(0, axis)
            width = len(positions) * factor[0].numel() // len(factors)
            own = factors[:, start : start + width].reshape(len(positions), *factor.shape[1:])
            factor[positions] = own.to(factor)
            start += width


def balanced_fan_out(rates: Tensor, fans: Tensor, density: float, beta: float) -> Tensor:
    """How many outgoing weights each unit keeps: k = fan (d0 + log((1 - a) / a) / beta), within [4, fan].

    The offset d0 is found by bisection, and single weights go to the units with the largest remainders, so that
    the sum is exactly round(density x all weights), or the fewest possible where that is more.

    Args:
        rates: (n,) on-rates in (0, 1).
        fans: (n,) full fan-outs.
        density: share of all weights to keep.
        beta: strength of the on-rate.
    """
    rates, fans = rates.double(), fans.double()
    lean = torch.log((1 - rates) / rates) / beta
    fewest = fans.clamp(max=FEWEST)
    target = max(round(density * float(fans.sum())), int(fewest.sum()))

    def granted(offset: float) -> Tensor:
        return torch.maximum(torch.minimum(fans * (offset + lean), fans), fewest)

    low, high = -float(lean.max()) - 1, 1 - float(lean.min())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if float(granted(middle).sum()) > target else (middle, high)
    exact = granted(low)
    counts = exact.floor()
    missing = target - int(counts.sum())
    remainder = torch.where(counts < fans, exact - counts, -1.0)
    counts[remainder.argsort(descending=True, stable=True)[:missing]] += 1
    return counts
