"""The tiny task and network that methods are tried on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.plugins.metrics import equal_error_rate
from bench.plugins.task import Batch, Metric, Plan, Predict, Split, Task


class ProbeNet(nn.Module):
    """A residual convolutional network small enough to train in a second: (B, 8, T) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(8, 12, 3, padding=1), nn.BatchNorm1d(12), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv1d(12, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU())
        self.back = nn.Conv1d(16, 12, 3, padding=1)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = torch.relu(y + self.back(self.inner(y)))
        return self.head(y.mean(2))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Probe(Task):
    """The tiny task that methods are tried on: which of two bands of noise is the louder one?"""

    metric = Metric("eer", unit="percent", direction="minimize")
    presets: ClassVar[dict[str, Plan]] = {
        "smoke": Plan(dense_steps=30, finetune_steps=20, batch_size=16, learning_rate=3e-3)
    }

    def build_model(self) -> nn.Module:
        return ProbeNet()

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
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
        return functional.cross_entropy(model(batch.inputs), batch.targets)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        batch = next(self.batches(split, 0))
        outputs = predict(batch.inputs)
        return {self.metric.column: equal_error_rate((outputs[:, 1] - outputs[:, 0]).numpy(), batch.targets)}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 8, 20)


def smallest(kind: type[Task]) -> str:
    """The preset that a task is checked at: ``smoke``, or its first one."""
    return "smoke" if "smoke" in kind.presets else next(iter(kind.presets))
