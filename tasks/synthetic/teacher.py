"""Draws the inputs and targets of a problem."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tasks.synthetic.problems import Branch

Array = TypeVar("Array", np.ndarray, Tensor)


class Teacher:
    """The data of one branch.

    Args:
        branch: what it is like.
        seed: of the rotations P and Q.
    """

    def __init__(self, branch: Branch, seed: Sequence[int]) -> None:
        self.branch = branch
        random = np.random.default_rng(list(seed))
        shape = (branch.sources, branch.sources)
        turned_in, turned_out = (np.linalg.qr(random.standard_normal(shape))[0] for _ in range(2))
        self._rotations = turned_in.T, (turned_out * np.sqrt(branch.spectrum)).T  # Q, P diag(a), for rows of examples
        self._tensors = [torch.from_numpy(rotation.astype(np.float32)) for rotation in self._rotations]

    def draw(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets to train on, both (examples, sources)."""
        sources = torch.randn(examples, self.branch.sources, generator=generator)
        return sources @ self._tensors[0], self._features(sources) @ self._tensors[1]

    def exact(self, examples: int, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A fixed set to score on, both (examples, sources), whose targets have the population's covariance exactly.

        No model can score below the bound on it, not even by chance. The teacher's units are drawn and whitened; the
        sources follow from them, as phi can be inverted.
        """
        mean, deviation = self.branch.moments
        units = self._features(np.random.default_rng(list(seed)).standard_normal((examples, self.branch.sources)))
        units = units - units.mean(0)
        units = np.linalg.solve(np.linalg.cholesky(units.T @ units / examples), units.T).T
        values = deviation * units + mean
        sources = np.where(values > 0, values, values / self.branch.slope)
        pair = (sources @ self._rotations[0], units @ self._rotations[1])
        return torch.from_numpy(pair[0].astype(np.float32)), torch.from_numpy(pair[1].astype(np.float32))

    def _features(self, sources: Array) -> Array:
        """The teacher's units, with mean 0 and variance 1 over the population."""
        slope, (mean, deviation) = self.branch.slope, self.branch.moments
        return (slope * sources + (1 - slope) * sources.clip(min=0) - mean) / deviation
