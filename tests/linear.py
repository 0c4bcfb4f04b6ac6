"""Linear problems whose best widths are known: principal component analysis, and how to share out a budget."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench import Batch, Metric, Plan, Predict, Split, Task


class Source:
    """Targets y = P diag(a) Q x of standard normal x, with a falling spectrum a^2 that adds up to ``power``.

    K features leave at least the sum of all but the K largest a^2 (Eckart and Young 1936).

    Args:
        size: of x and y.
        decay: components after which the power has fallen by the factor e.
        power: of y.
        seed: of the rotations P and Q.
    """

    def __init__(self, size: int, decay: float, power: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        falling = torch.exp(-torch.arange(size, dtype=torch.float64) / decay)
        self.spectrum = power * falling / falling.sum()
        turns = [torch.linalg.qr(torch.randn(size, size, generator=generator))[0] for _ in range(2)]
        self.matrix = turns[0] * self.spectrum.sqrt().float() @ turns[1]

    def least_errors(self) -> Tensor:
        """The least squared error with 0, 1, ... features, shape (size + 1,)."""
        behind = self.spectrum.flip(0).cumsum(0).flip(0)
        return torch.cat([behind, behind.new_zeros(1)])


class SideBySide(nn.Module):
    """A linear layer into features and one out of them, for each source: (B, size of all) -> the same."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.size = size
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(size, size, bias=False), nn.Linear(size, size)) for _ in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.size, dim=1)
        return torch.cat([branch(part) for branch, part in zip(self.branches, parts, strict=True)], dim=1)


@dataclass(frozen=True)
class Allocation(Task):
    """Three sources, each with its own features at the same price, under one budget."""

    metric: ClassVar = Metric("mse", unit="percent", direction="minimize", guess=100.0)
    presets: ClassVar = {
        "quick": Plan(dense_steps=1500, finetune_steps=500, batch_size=64, learning_rate=1e-2, weight_decay=0.0)
    }

    seed: int = 0
    loss_scale: float = 1.0
    size: ClassVar[int] = 24
    kinds: ClassVar = ((1.5, 0.2), (5.0, 0.3), (16.0, 0.5))  # decay and power

    @property
    def sources(self) -> list[Source]:
        return [Source(self.size, *kind, seed=10 * self.seed + number) for number, kind in enumerate(self.kinds)]

    @property
    def matrix(self) -> Tensor:
        return torch.block_diag(*(source.matrix for source in self.sources))  # type: ignore[no-untyped-call]

    def best_possible(self, compute: float) -> float:
        """All features cost the same, so the strongest components of all sources are kept."""
        spectrum = torch.cat([source.spectrum for source in self.sources]).sort(descending=True).values
        return 100 * float(spectrum[int(compute * len(spectrum) + 1e-9) :].sum())

    def build_model(self) -> nn.Module:
        return SideBySide(self.size, len(self.kinds))

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        generator, matrix = torch.Generator().manual_seed(seed), self.matrix
        while True:
            inputs = torch.randn(self.batch_size, len(matrix), generator=generator)
            noise = 0.05 * torch.randn(inputs.shape, generator=generator) / self.size**0.5
            yield Batch(inputs, inputs @ matrix + noise)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        error: Tensor = model(batch.inputs) - batch.targets
        return self.loss_scale * error.square().sum(1).mean()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """Exact for the population: the model is affine, so its answers to the unit vectors say all."""
        matrix = self.matrix
        bias = predict(torch.zeros(1, len(matrix)))
        error = predict(torch.eye(len(matrix))) - bias - matrix
        return {self.metric.column: 100 * float(error.double().square().sum() + bias.double().square().sum())}

    def example_input(self) -> Tensor:
        return torch.zeros(1, len(self.kinds) * self.size)
