"""A tiny task on which conformance is checked: seconds for all methods, nothing to download."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.metrics import equal_error_rate
from bench.task import Batch, Metric, Plan, Predict, Progress, Split, Task


class ProbeNet(nn.Module):
    """A residual convolutional network small enough to train in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(8, 12, 3, padding=1), nn.BatchNorm1d(12), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv1d(12, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU())
        self.back = nn.Conv1d(16, 12, 3, padding=1)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 8, T) -> (B, 2)."""
        y = self.stem(x)
        y = torch.relu(y + self.back(self.inner(y)))
        return self.head(y.mean(2))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Probe(Task):
    """Which of two bands of noise is the louder one?"""

    metric = Metric("eer", unit="percent", direction="minimize")
    presets: ClassVar[dict[str, Plan]] = {
        "smoke": Plan(dense_steps=30, finetune_steps=20, batch_size=16, learning_rate=3e-3)
    }

    def prepare(self, workers: int, progress: Progress) -> str:
        """Nothing to prepare."""
        return "probe"

    def build_model(self) -> nn.Module:
        """The network above."""
        return ProbeNet()

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Noise whose louder band is the label."""
        seeds = {"train": seed + 2, "dev": 0, "eval": 1}  # only training depends on the seed
        generator = torch.Generator().manual_seed(seeds[split])
        while True:
            targets = torch.arange(self.batch_size) % 2
            inputs = torch.randn(self.batch_size, 8, 20, generator=generator)
            inputs[targets == 1, :4] *= 1.5
            yield Batch(inputs, targets)
            if split != "train":
                return

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(model(batch.inputs), batch.targets)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """EER over one batch."""
        batch = next(self.batches(split, 0))
        outputs = predict(batch.inputs)
        return {self.metric.column: equal_error_rate((outputs[:, 1] - outputs[:, 0]).numpy(), batch.targets)}

    def example_input(self) -> Tensor:
        """(1, 8, 20)."""
        return torch.zeros(1, 8, 20)
