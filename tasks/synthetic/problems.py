"""Problems whose best possible front follows from a formula.

A *branch* has d independent sources z_k ~ N(0, 1). Its targets are what a teacher with one unit a source makes of them,

    x = Q z,    y = P diag(a) f(z),    f_k = (phi(z_k) - mean) / deviation,

with orthogonal P and Q, so the components of y along the columns of P are uncorrelated and have the powers a_k^2.
phi is the identity or a leaky ReLU. The student sees x: a linear layer into N < d features, phi, a linear layer with a
bias.

What K features can reach: whatever comes before the last layer, its outputs lie in an affine space of K dimensions.
The best such space leaves the sum of all but the K largest eigenvalues of Cov(y) (principal component analysis;
Eckart and Young 1936, Psychometrika 1, 211-218), and those eigenvalues are the a_k^2. So MSE >= sum of a_k^2 over
k > K for every encoder, trained in whatever way. The student can reach it: its K features copy the units of the K
strongest sources, its last layer holds the columns of P diag(a) / deviation, its bias what the means need.

Several branches stand side by side, each with its own price for a feature, under one budget. The best widths share
the budget out like reverse water-filling (Cover and Thomas 2006, Elements of Information Theory, section 10.3.3):
every source whose power for each unit of cost lies above one level is kept. That is exact where the budget is spent to
the last unit; as features are whole, the best of all integer widths is computed here, by merging the branches.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class Branch:
    """One teacher, and the layer of its student.

    Attributes:
        sources: d, the size of inputs and of targets.
        width: N, the features of the dense student.
        decay: so many sources further the power has fallen by the factor e.
        power: of all targets together; the powers of all branches of a problem add up to 1.
        slope: of phi below zero; 1 makes it the identity.
    """

    sources: int
    width: int
    decay: float
    power: float = 1.0
    slope: float = 1.0

    @property
    def price(self) -> int:
        """MACs of one feature: it reads every input and speaks to every output."""
        return 2 * self.sources

    @property
    def spectrum(self) -> np.ndarray:
        """The power a_k^2 of each source, falling, shape (sources,)."""
        falling = np.exp(-np.arange(self.sources) / self.decay)
        spectrum: np.ndarray = self.power * falling / falling.sum()
        return spectrum

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of phi(z) for z ~ N(0, 1)."""
        mean = (1 - self.slope) / math.sqrt(2 * math.pi)
        return mean, math.sqrt((1 + self.slope**2) / 2 - mean**2)

    def errors(self) -> np.ndarray:
        """The least MSE with 0, 1, ... N features, shape (width + 1,)."""
        powers = self.spectrum
        return np.array([powers[kept:].sum() for kept in range(self.width + 1)])

    def student(self) -> nn.Sequential:
        """(B, sources) -> (B, sources)."""
        encoder, decoder = nn.Linear(self.sources, self.width, bias=False), nn.Linear(self.width, self.sources)
        phi = [] if self.slope == 1 else [Leaky(self.slope)]
        return nn.Sequential(encoder, *phi, decoder)


class Leaky(nn.Module):
    """A leaky ReLU made of what every counter of operations knows.

    Args:
        slope: below zero.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return self.slope * x + (1 - self.slope) * x.relu()


class Choice(NamedTuple):
    """Widths of all branches, what they cost (MACs) and the least MSE (share of the targets' power) they can reach."""

    macs: int
    error: float
    widths: tuple[int, ...]


PROBLEMS: dict[str, tuple[Branch, ...]] = {
    "linear": (Branch(64, 32, decay=8.0),),
    "allocation": (
        Branch(64, 32, decay=4.0, power=0.5),
        Branch(32, 24, decay=10.0, power=0.35),
        Branch(16, 12, decay=5.0, power=0.15),
    ),
    "nonlinear": (Branch(64, 32, decay=8.0, slope=0.1),),
}


def best_front(branches: Iterable[Branch]) -> list[Choice]:
    """All choices of integer widths that no cheaper one equals, from nothing kept to the dense student.

    Errors and costs of branches add up, so whatever is best for all of them is best for each part of them: merging
    one branch after the other, and keeping what is not dominated, leaves nothing out.
    """
    front = [Choice(0, 0.0, ())]
    for branch in branches:
        merged = [
            Choice(before.macs + kept * branch.price, before.error + float(error), (*before.widths, kept))
            for before in front
            for kept, error in enumerate(branch.errors())
        ]
        front = []
        for choice in sorted(merged):
            if not front or choice.error < front[-1].error:
                front.append(choice)
    return front
