"""Trainable widths: the further a feature lies beyond a group's width, the more of it is noise."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 0.02  # of noise and of feature within the window: the square root has no slope at nothing


class WidthNoise:
    """Noise on the features of every width group of a model, with one trainable width a group.

    Feature i of N gets the noise share lambda_i = clamp((i + 1/2 - m) / w + 1/2, 0, 1), where m is the group's centre
    and w the window: it passes as sqrt(1 - lambda) x + sqrt(lambda) n, which keeps its variance; at lambda = 1 it is
    zero. The effective width is K = sum(1 - lambda_i). While ``spread`` is above zero, m is drawn anew for every
    example around its value, which puts the features in order of importance.

    Args:
        sizes: channels of each group.
        window: features between whole and gone.
        spread: standard deviation of the drawn centres, as a share of the group, never above half the width.
        gaussian: noise of the features' own standard deviation; else differences of other examples' features, which
            have the right mean, spectrum and scale without an estimate.
    """

    def __init__(self, sizes: dict[str, int], window: float, spread: float, gaussian: bool) -> None:
        self.sizes, self.window, self.spread, self.gaussian = sizes, window, spread, gaussian
        self._highest = {name: size + (window - 1) / 2 for name, size in sizes.items()}
        self._lowest = {name: max(1.0, size / 32) for name, size in sizes.items()}
        #: centre of each group as a share of its highest, so that the start is exact for every size
        self.shares = {name: nn.Parameter(torch.tensor(1.0)) for name in sizes}
        self._coefficients: dict[str, tuple[Tensor, Tensor]] = {}
        self._shifts = (0, 0)
        self._latest: dict[str, tuple[Tensor, Tensor]] = {}

    def widths(self) -> dict[str, Tensor]:
        """The effective width K of each group, differentiable, shape ()."""
        return {name: (1 - self._noise_share(name, self._centre(name))).sum() for name in self.sizes}

    def draw(self, examples: int, annealing: float) -> None:
        """Draw this step's centres and noise; ``annealing`` scales the spread of the centres from 1 to 0."""
        first, second = (torch.randperm(examples - 1)[:2] + 1).tolist() if examples > 2 else (0, 0)
        self._shifts = (first, second)
        self._latest.clear()
        for name, width in self.widths().items():
            centre = self._centre(name).expand(examples, 1)
            deviation = min(annealing * self.spread * self.sizes[name], float(width.detach()) / 2)
            if deviation > 0:
                drawn = centre + deviation * torch.randn(examples, 1)
                centre = drawn.clamp(self._lowest[name], self._highest[name])
            self._coefficients[name] = self._amplitudes(self._noise_share(name, centre))

    def gates(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """A gate for each group, with the draw of the current step; it passes features on before the first draw."""
        return {name: self._gate(name) for name in self.sizes}

    @torch.no_grad()
    def project(self) -> None:
        """Bring the centres back into their range, after an optimiser step."""
        for name, share in self.shares.items():
            share.clamp_(self._lowest[name] / self._highest[name], 1.0)

    def _centre(self, name: str) -> Tensor:
        return self.shares[name] * self._highest[name]

    def _noise_share(self, name: str, centre: Tensor) -> Tensor:
        index = torch.arange(self.sizes[name]) + 0.5
        return ((index - centre) / self.window + 0.5).clamp(0, 1)

    @staticmethod
    def _amplitudes(share: Tensor) -> tuple[Tensor, Tensor]:
        inside = share.clamp(VARIANCE_FLOOR, 1 - VARIANCE_FLOOR)
        whole, alive = share <= 0, share < 1
        feature = torch.where(whole, 1.0, (1 - inside).sqrt()) * alive
        return feature, torch.where(whole, 0.0, inside.sqrt()) * alive

    def _gate(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        def gate(features: Tensor, channels: Tensor) -> Tensor:
            if name not in self._coefficients:
                return features
            seen, noisy = self._latest.get(name, (None, features))
            if seen is features:  # several layers read it: a feature has one value, so its noise is drawn once
                return noisy
            shape = (len(features), len(channels)) + (1,) * (features.dim() - 2)
            feature, noise = (c[:, channels].view(shape) for c in self._coefficients[name])
            noisy = feature * features + noise * self._noise(features)
            self._latest[name] = (features, noisy)
            return noisy

        return gate

    def _noise(self, features: Tensor) -> Tensor:
        first, second = self._shifts
        if self.gaussian or first == second:  # fewer than three examples have no difference of others
            axes = [0, *range(2, features.dim())]
            variance: Tensor = features.var(axes, correction=0, keepdim=True)
            return (variance + 1e-8).sqrt() * torch.randn_like(features)
        difference: Tensor = features.roll(first, 0) - features.roll(second, 0)
        return difference * math.sqrt(0.5)
