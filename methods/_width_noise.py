"""Trainable widths: the further a feature lies beyond a group's width, the more of it is noise."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods._windowed import Windowed

VARIANCE_FLOOR = 0.02  # of noise and of feature within the window: the square root has no slope at nothing


class Draw(NamedTuple):
    """One group's draw for one step: in each example only the k columns of the window are neither whole nor gone.

    Attributes:
        keep: (B, N) 1 before the window, 0 from there on.
        columns: (B, k) the features within the window.
        feature: (B, k) what these are multiplied by.
        noise: (B, k) what their noise is multiplied by.
    """

    keep: Tensor
    columns: Tensor
    feature: Tensor
    noise: Tensor

    def at(self, channels: Tensor) -> "Draw":
        """The draw for an axis with these channels (n,): in another order, or each of them several times."""
        channels, size = channels.cpu(), self.keep.shape[1]
        if len(channels) == size and torch.equal(channels, torch.arange(size)):
            return self
        places = torch.argsort(channels, stable=True).view(size, -1)  # of each channel, all equally often
        feature, noise = (part.repeat_interleave(places.shape[1], 1) for part in (self.feature, self.noise))
        return Draw(self.keep[:, channels], places[self.columns].flatten(1), feature, noise)


class WidthNoise:
    """Noise on the features of every width group of a model, with one trainable width a group.

    Feature i of N (in the order of its channels, or of scores) gets the noise share lambda_i = clamp((i + 1/2 - m) / w
    + 1/2, 0, 1), where m is the group's centre and w the window: it passes as sqrt(1 - lambda) x + sqrt(lambda) n,
    which keeps its variance; at lambda = 1 it is zero. The effective width is K = sum(1 - lambda_i). While ``spread``
    is above zero, m is drawn anew for every example around its value, which puts the features in order of importance.

    Args:
        sizes: channels of each group.
        window: features between whole and gone.
        spread: standard deviation of the drawn centres, as a share of the group, never above half the width.
        gaussian: noise of the features' own standard deviation; else differences of other examples' features, which
            have the right mean, spectrum and scale without an estimate.
        least: width that each group keeps, as a share of its channels; one channel stays in any case.
    """

    def __init__(
        self, sizes: Mapping[str, int], window: float, spread: float, gaussian: bool, least: float = 1 / 32
    ) -> None:
        self.sizes, self.window, self.spread, self.gaussian = dict(sizes), window, spread, gaussian
        self._counts = torch.tensor([float(size) for size in sizes.values()])
        self._highest = self._counts + (window - 1) / 2
        self._lowest = torch.tensor([max(1.0, least * size) for size in sizes.values()])
        #: (groups,) centre of each group as a share of its highest, so that the start is exact for every size
        self.shares = nn.Parameter(torch.ones(len(sizes)))
        self.ranks = {name: torch.arange(size) for name, size in sizes.items()}  # (N,): place of each channel
        self._draws: dict[str, Draw] = {}
        self._shifts = (0, 0)
        self._latest: dict[str, tuple[Tensor, int, Tensor]] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [self.shares]

    def widths(self) -> dict[str, Tensor]:
        """The effective width K of each group, differentiable, shape ()."""
        return dict(zip(self.sizes, self._effective().unbind(), strict=True))

    def order(self, scores: Mapping[str, Tensor]) -> None:
        """Put the features of each group in the order of these scores (N,), the highest first."""
        self.ranks = {n: scores[n].cpu().argsort(descending=True, stable=True).argsort() for n in self.sizes}

    def draw(self, examples: int, annealing: float) -> None:
        """Draw this step's centres and noise; ``annealing`` scales the spread of the centres from 1 to 0."""
        first, second = (torch.randperm(examples - 1)[:2] + 1).tolist() if examples > 2 else (0, 0)
        self._shifts = (first, second)
        self._latest.clear()
        deviation = torch.minimum(annealing * self.spread * self._counts, self._effective().detach() / 2)
        centres = self._centres()[:, None] + deviation[:, None] * torch.randn(len(deviation), examples)
        centres = centres.clamp(self._lowest[:, None], self._highest[:, None])
        starts, shares = self._windows(centres)
        amplitudes = (part.unbind() for part in self._amplitudes(shares))
        for name, start, feature, noise in zip(self.sizes, starts, *amplitudes, strict=True):
            index = torch.arange(self.sizes[name])
            inside = slice(min(len(index), feature.shape[1]))  # a group may be smaller than the window
            columns = start.long()[:, None] + torch.arange(feature.shape[1])
            keep = (index < start[:, None]).float()
            self._draws[name] = Draw(keep, columns[:, inside], feature[:, inside], noise[:, inside])

    def gates(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """A gate for each group, with the draw of the current step; it passes features on before the first draw."""
        return {name: self._gate(name) for name in self.sizes}

    def live(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """For each group, which channels (n,) are not all gone, (B, n) or (1, n) of ones and zeros."""
        return {name: self._live(name) for name in self.sizes}

    @torch.no_grad()
    def project(self) -> None:
        """Bring the centres back into their range, after an optimiser step."""
        self.shares.copy_(self.shares.cpu().clamp(self._lowest / self._highest, torch.ones(())))

    def _centres(self) -> Tensor:
        return self.shares.cpu() * self._highest  # a few numbers, wherever the model is

    def _effective(self) -> Tensor:
        start, share = self._windows(self._centres())
        there = start[:, None] + torch.arange(share.shape[1]) < self._counts[:, None]
        return start + ((1 - share) * there).sum(1)

    def _windows(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Where the windows of centres (groups, ...) start, and the noise shares (groups, ..., k) within them."""
        counts = self._counts.view(-1, *[1] * (centres.dim() - 1))
        offsets = torch.arange(math.ceil(self.window))
        start = torch.floor(centres.detach() - self.window / 2 - 0.5) + 1
        start = torch.minimum(start, counts - len(offsets)).clamp(min=0)
        index = start[..., None] + offsets + 0.5
        return start, ((index - centres[..., None]) / self.window + 0.5).clamp(0, 1)

    def _amplitudes(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """What a feature and its noise are multiplied by; two differing examples have twice the variance of one."""
        inside = share.clamp(VARIANCE_FLOOR, 1 - VARIANCE_FLOOR)
        whole, alive = share <= 0, share < 1
        feature = torch.where(whole, 1.0, (1 - inside).sqrt()) * alive
        noise = torch.where(whole, 0.0, inside.sqrt()) * alive
        return feature, noise if self._estimates else noise * math.sqrt(0.5)

    @property
    def _estimates(self) -> bool:
        """Whether noise comes from a standard deviation: under three examples have no difference of others."""
        return self.gaussian or self._shifts[0] == self._shifts[1]

    def _gate(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        def gate(features: Tensor, channels: Tensor) -> Tensor:
            if name not in self._draws:
                return features
            if name in self._latest:  # several layers read a feature: it has one value, so its noise is drawn once
                seen, version, noisy = self._latest[name]
                if _same_values(features, seen) and seen._version == version:
                    return noisy
            noisy = self._noisy(features, self._draws[name].at(self.ranks[name][channels.cpu()]))
            self._latest[name] = (features, features._version, noisy)
            return noisy

        return gate

    def _live(self, name: str) -> Callable[[Tensor], Tensor]:
        def live(channels: Tensor) -> Tensor:
            if name not in self._draws:
                return torch.ones(1, len(channels))
            draw = self._draws[name]
            alive = draw.keep.scatter(1, draw.columns, (draw.feature.detach() > 0).float())
            return alive[:, self.ranks[name][channels.cpu()]]

        return live

    def _noisy(self, features: Tensor, draw: Draw) -> Tensor:
        """Features (B, n, ...) under a draw, worked out on the (B n, ...) rows of a matrix."""
        examples, positions = features.shape[:2]
        row = torch.arange(examples)
        rows = torch.stack([row, *((row - shift) % examples for shift in self._shifts)])
        places = (rows[:, :, None] * positions + draw.columns).flatten(1).to(features.device)
        matrix = features.reshape(examples * positions, -1)
        other = None
        if self._estimates:
            variance = features.var([0, *range(2, features.dim())], correction=0)
            deviation = (variance + 1e-8).sqrt()[draw.columns].view(-1, 1)
            other = deviation * torch.randn(len(deviation), matrix.shape[1]).to(features)
        coefficients = (part.reshape(-1, 1).to(features) for part in (draw.keep, draw.feature, draw.noise))
        noisy: Tensor = Windowed.apply(matrix, *coefficients, places, other)  # type: ignore[no-untyped-call]
        return noisy.view(features.shape)


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Whether both are views of the same memory; linear layers are given a new view each."""
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
