"""Random gates on channels, one for each channel, whose chance of being open is trained."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

SIGMA = 0.5  # of the normal noise of STG
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # temperature and stretch of the hard concrete distribution


class ChannelGates:
    """A gate z in [0, 1] for every channel of every width group, drawn once a step for all examples.

    ``stg`` (Yamada et al. 2020, arXiv 1810.04247, eq. 3): z = clip(mu + sigma e, 0, 1) with normal e, so that
    P(z != 0) = Phi(mu / sigma), and clip(mu, 0, 1) at test. ``hard_concrete`` (Louizos et al. 2018, arXiv 1712.01312,
    eqs. 10 to 13): z = clip((zeta - gamma) sigmoid((logit u + a) / beta) + gamma, 0, 1) with uniform u, so that
    P(z != 0) = sigmoid(a - beta log(-gamma / zeta)), and without noise and temperature at test.

    Args:
        sizes: channels of each group.
        form: ``stg`` or ``hard_concrete``.
        start: mu or a, of all channels.
    """

    def __init__(self, sizes: Mapping[str, int], form: str, start: float) -> None:
        self.sizes, self.normal = dict(sizes), form == "stg"
        #: (channels of all groups,) mu or a
        self.locations = nn.Parameter(torch.full((sum(sizes.values()),), start))
        self._drawn: dict[str, Tensor] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [self.locations]

    def chances(self) -> dict[str, Tensor]:
        """P(z != 0) of each channel, (size,), differentiable."""
        locations = self.locations.cpu()  # a few numbers, wherever the model is
        if self.normal:
            return self._split(torch.special.ndtr(locations / SIGMA))
        return self._split(torch.sigmoid(locations - BETA * math.log(-GAMMA / ZETA)))

    def values(self) -> dict[str, Tensor]:
        """The gates at test, without noise: (size,) in [0, 1]."""
        with torch.no_grad():
            if self.normal:
                return self._split(self.locations.clamp(0, 1))
            return self._split(_stretched(torch.sigmoid(self.locations)))

    def widths(self) -> dict[str, Tensor]:
        """The expected number of open gates of each group, differentiable, shape ()."""
        return {name: chances.sum() for name, chances in self.chances().items()}

    def draw(self, examples: int = 1, annealing: float = 1.0) -> None:
        """Draw the gates of a step, the same for all examples."""
        locations = self.locations.cpu()
        if self.normal:
            drawn = (locations + SIGMA * torch.randn_like(locations)).clamp(0, 1)
        else:
            noise = torch.logit(torch.rand_like(locations), eps=1e-6)
            drawn = _stretched(torch.sigmoid((noise + locations) / BETA))
        self._drawn = self._split(drawn)

    def gates(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """A gate for each group, with the draw of the current step; it passes features on before the first draw."""
        return {name: self._gate(name) for name in self.sizes}

    def live(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """For each group, which channels (n,) are open: (1, n) of ones and zeros."""
        return {name: self._live(name) for name in self.sizes}

    def project(self) -> None:
        """Nothing to do: every location is a distribution."""

    def _split(self, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.sizes, torch.split(values, list(self.sizes.values())), strict=True))

    def _gate(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        def gate(features: Tensor, channels: Tensor) -> Tensor:
            if name not in self._drawn:
                return features
            drawn = self._drawn[name][channels.cpu()].to(features)
            return features * drawn.view(1, -1, *[1] * (features.dim() - 2))

        return gate

    def _live(self, name: str) -> Callable[[Tensor], Tensor]:
        def live(channels: Tensor) -> Tensor:
            if name not in self._drawn:
                return torch.ones(1, len(channels))
            return (self._drawn[name].detach()[channels.cpu()] > 0).float()[None]

        return live


def _stretched(sigmoid: Tensor) -> Tensor:
    return ((ZETA - GAMMA) * sigmoid + GAMMA).clamp(0, 1)
