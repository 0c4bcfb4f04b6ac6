"""Budgeted Broadcast: busy units speak to few, quiet ones to many (Meirovitch et al. 2025, arXiv 2510.01263).

Maximising the coding entropy of the units under a budget of total traffic, on-rate x fan-out, balances each unit at
log((1 - a) / a) = beta k, so its fan-out is k = d0 + log((1 - a) / a) / beta. Fan-outs are shares of the unit's full
fan-out here, so that one beta and one offset d0 serve layers of different size. The offset is not searched for: a
connection is granted as soon as d0 exceeds ``rank - log((1 - a) / a) / beta``, where ``rank`` is the share of its
unit's connections that are stronger. In this order, as many connections as the budget pays for are the balance.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench import Batch, Masks, Method, Part, Widths, tune

Rule = Literal["balance", "threshold", "activity", "shuffled", "magnitude"]

MOMENTUM = 0.95  # of the moving average of the on-rates
OBSERVED = 4  # every so many steps: looking at all activations costs a tenth of a step
FEWEST = 1 / 16  # of its connections, at least one: what every unit keeps for as long as the budget pays for it
SILENT, BUSY = 0.3, 0.9  # on-rates outside of which the released code for speech recognition prunes
BEYOND, FAR = 1e2, 1e9  # more than any entry, more than any rank times that


@dataclass(frozen=True)
class BroadcastSettings(Method):
    """What Budgeted Broadcast over connections can be told, while a network trains and afterwards.

    ``rule`` is the controller: ``balance``, ``threshold`` as in the released code, or one of the controls ``activity``,
    ``shuffled`` and ``magnitude``; ``side`` says which connections of a unit it acts on: outgoing ones (SP-out),
    incoming ones (SP-in), or both. With ``taps`` it acts on single weights of convolutions. ``rescale`` multiplies what
    a unit still receives by the root of its fan-in over what is left of it, as published; the search decides on it.
    """

    promises = "mask"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    beta: float = tune(16.0, low=2.0, high=128.0, log=True)
    side: str = tune("out", choices=("out", "in", "both"))
    rescale: bool = tune(False, choices=(False, True))
    rule: Rule = "balance"
    taps: bool = False

    def broadcast(self, widths: Widths) -> tuple["Broadcast", float]:
        """The masks of a network, and the share of what they act on that the budget leaves."""
        made = Broadcast(widths, self.beta, self.rule, self.side, taps=self.taps, rescale=self.rescale)
        return made, made.masks.density(self.budget)


class Broadcast:
    """Keeps the on-rate of every unit of a model, and masks the connections of units by the balance.

    Args:
        widths: the width graph of the model; its units are the channels of all groups.
        beta: how strongly the on-rate decides.
        rule: ``balance``, or ``threshold`` as in the released code: units outside [.3, .9] lose connections first, and
            none comes back; or a control: ``activity`` decides by on-rates alone, ``shuffled`` gives each unit the
            on-rate of another one, ``magnitude`` has no regard to activity.
        side: whether units lose outgoing connections (SP-out), incoming ones (SP-in), or need the grant of both ends.
        taps: see ``Masks``.
        rescale: multiply what each unit still receives by sqrt(fan-in / connections left), as published.
    """

    def __init__(
        self,
        widths: Widths,
        beta: float = 16.0,
        rule: Rule = "balance",
        side: str = "out",
        *,
        taps: bool = False,
        rescale: bool = False,
    ) -> None:
        self.beta, self.rule, self.rescale, self._widths = beta, rule, rescale, widths
        self.on_rates = {group.name: torch.full((group.size,), 0.5) for group in widths.groups}
        self._sending = {group.name: group.consumers for group in widths.groups}
        receiving = {group.name: group.producers for group in widths.groups}
        self._sides = [s for s, on in ((self._sending, "out"), (receiving, "in")) if side in (on, "both")]
        parts = itertools.chain.from_iterable(found for own in self._sides for found in own.values())
        self.masks = Masks(widths, {part.tensor for part in parts}, taps=taps)
        self._observing, self._momentum = True, MOMENTUM

    def observers(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Gates that change nothing and keep the on-rates of the features they see."""
        return {g.name: self._observer(self.on_rates[g.name], g.recurrent) for g in self._widths.groups}

    def observe(self, batches: Iterable[Batch]) -> None:
        """Take the on-rates from calibration data, in eval mode."""
        with torch.no_grad(), self._widths.gate(self.observers()):
            for number, batch in enumerate(batches):
                self._momentum = number / (number + 1)
                self._widths.model.eval()(batch.inputs)

    def renewing(self, density: float, *, burn_in: int, interval: int, last: int) -> Callable[[int], None]:
        """To be called after every step, counted from 1: renews the masks from ``burn_in`` to ``last``."""

        def after_step(step: int) -> None:
            self._observing = step % OBSERVED == 0 and step < last
            if burn_in <= step <= last and (step - burn_in) % interval == 0:
                self.refresh(density)

        return after_step

    @torch.no_grad()
    def refresh(self, density: float) -> None:
        """New masks, by the rule; of the MACs that they act on, this share stays."""
        strengths = self.masks.strengths()
        entries = {n: torch.full_like(own, -torch.inf, dtype=torch.double) for n, own in strengths.items()}
        for side, group in itertools.product(self._sides, self._widths.groups):
            if rows := [_rows(strengths, part, group.size) for part in side[group.name]]:
                granted = self._entries(torch.cat(rows, 1), self.on_rates[group.name])
                owned = torch.split(granted, [row.shape[1] for row in rows], 1)
                for part, own in zip(side[group.name], owned, strict=True):
                    found, at = entries[part.tensor].movedim(part.axis, 0), part.by_channel
                    found[at] = torch.maximum(found[at], own.reshape(found[at].shape))
        if self.rule == "threshold":
            for name, alive in self.masks.alive().items():
                entries[name][~alive] = FAR
        self.masks.keep_first(entries, density, rescale=self.rescale)

    def _entries(self, strengths: Tensor, rate: Tensor) -> Tensor:
        """The offset from which on each connection of units is granted, (units, fan)."""
        fan = strengths.shape[1]
        rank = strengths.argsort(dim=1, descending=True, stable=True).argsort(1).double()
        share = (rank + 0.5) / fan
        rate = rate.to(rank).clamp(1e-3, 1 - 1e-3)
        lean = torch.log((1 - rate) / rate) / self.beta
        if self.rule == "shuffled":
            lean = lean[torch.randperm(len(lean))]
        elif self.rule == "magnitude":
            lean = torch.zeros_like(lean)
        elif self.rule == "threshold":
            lean = -1.0 * ((rate < SILENT) | (rate > BUSY))
        elif self.rule == "activity":
            share = share * 1e-6  # tells the connections of one unit apart
        # where the budget does not pay for all of the fewest: of all layers alike, the strongest ones of quiet units
        place = lean.argsort(descending=True, stable=True).argsort() / len(lean)
        first = BEYOND * rank - FAR + place[:, None]
        return torch.where(rank < max(1.0, FEWEST * fan), first, share - lean[:, None])

    def fan_outs(self) -> dict[str, Tensor]:
        """The share of its outgoing connections that each unit has left, (size,), by group."""
        return {name: sent.gt(0).float().mean(1) for name, sent in self._sent().items()}

    def unit_scores(self, *, by_fan_out: bool) -> dict[str, Tensor]:
        """What speaks for each unit, (size,), by group, from the strengths of its live connections, not rescaled.

        The sum of these strengths times the fan-out; or else their norm times the entropy of the on-rate.
        """
        scores, fan_outs = {}, self.fan_outs()
        for name, sent in self._sent().items():
            rate, strength = self.on_rates[name], sent.sum(1) if by_fan_out else sent.norm(dim=1)
            factor = fan_outs[name] if by_fan_out else -(rate.xlogy(rate) + (1 - rate).xlogy(1 - rate))
            scores[name] = strength / strength.mean().clamp(min=1e-30) * factor
        return scores

    @torch.no_grad()
    def diagnostics(self, batch: Batch) -> dict[str, float]:
        """What the balance aims at: units that say much, and different things.

        Returns:
            ``coding_entropy_bits``, mean over the units; ``mean_abs_correlation`` between the units of a group, on a
            batch; ``balance_r2``, how well fan-outs are a linear function of log((1 - a) / a), over all units.
        """
        fan_outs, seen = self.fan_outs(), dict[str, Tensor]()
        rates = torch.cat([self.on_rates[name] for name in fan_outs]).clamp(1e-3, 1 - 1e-3)
        logits = torch.log((1 - rates) / rates)

        def watching(name: str) -> Callable[[Tensor, Tensor], Tensor]:
            def watch(features: Tensor, channels: Tensor) -> Tensor:
                seen.setdefault(name, features.movedim(1, 0).flatten(1))
                return features

            return watch

        features = [group.name for group in self._widths.groups if not group.recurrent and group.size > 1]
        with self._widths.gate({name: watching(name) for name in features}):
            self._widths.model.eval()(batch.inputs)
        alike = [torch.corrcoef(units).nan_to_num().abs() for units in seen.values()]
        apart = [float((own.sum() - own.trace()) / (own.numel() - len(own))) for own in alike]
        fit = torch.corrcoef(torch.stack([logits, torch.cat(list(fan_outs.values()))]))[0, 1] ** 2
        return {
            "coding_entropy_bits": float(-(rates.xlogy(rates) + (1 - rates).xlogy(1 - rates)).mean() / math.log(2)),
            "mean_abs_correlation": sum(apart) / len(apart),
            "balance_r2": float(fit.nan_to_num()),
        }

    @torch.no_grad()
    def _sent(self) -> dict[str, Tensor]:
        """The strengths of the outgoing connections of each unit, (size, fan-out), 0 where masked."""
        alive = self.masks.alive()
        live = {name: own * alive[name] for name, own in self.masks.strengths().items()}
        sent = {}
        for group in self._widths.groups:
            if rows := [_rows(live, part, group.size) for part in group.consumers if part.tensor in live]:
                sent[group.name] = torch.cat(rows, 1).cpu()
        return sent

    def _observer(self, rate: Tensor, recurrent: bool) -> Callable[[Tensor, Tensor], Tensor]:
        @torch.no_grad()
        def observe(features: Tensor, channels: Tensor) -> Tensor:
            weights = recurrent and features.dim() == 2  # a recurrence shows its weights, its readers show features
            if self._observing and not weights:
                on = (features > 0).float().mean([0, *range(2, features.dim())])
                on, channels = on.cpu(), channels.cpu()
                mean = torch.bincount(channels, on, len(rate)) / torch.bincount(channels, minlength=len(rate))
                rate.lerp_(mean.to(rate), 1 - self._momentum)
            return features

        return observe


def _rows(values: Mapping[str, Tensor], part: Part, size: int) -> Tensor:
    """What the connections of each unit have, (size, connections in this weight)."""
    return values[part.tensor].movedim(part.axis, 0)[part.by_channel].reshape(size, -1)
