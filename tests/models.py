"""Small models and a small task that tests share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench import Batch, Metric, Plan, Predict, Split, Task


class Branches(nn.Module):
    """Two convolutions side by side, concatenated, then depthwise, pooled, flattened: (B, 2, 8, 6) -> (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 5, 3, padding=1)
        self.left_norm = nn.BatchNorm2d(5)
        self.right = nn.Conv2d(2, 7, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.depthwise_norm = nn.BatchNorm2d(12)
        self.mix = nn.Conv2d(12, 6, 1)
        self.mix_norm = nn.BatchNorm2d(6)
        self.hidden = nn.Linear(6 * 4 * 3, 9)
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        left = self.left_norm(self.left(x)).relu()
        both = torch.cat([left, self.right(x).relu()], 1)
        y = self.depthwise_norm(self.depthwise(both)).relu()
        y = nn.functional.max_pool2d(self.mix_norm(self.mix(y)).relu(), 2)
        return self.head(self.hidden(y.flatten(1)).relu())


class Temporal(nn.Module):
    """Convolutions over time with a residual stream, and a linear layer frame by frame: (B, 4, T) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, 8, 5, stride=2, padding=2)
        self.stem_norm = nn.BatchNorm1d(8)
        self.inner = nn.Conv1d(8, 10, 3, padding=2, dilation=2)
        self.inner_norm = nn.BatchNorm1d(10)
        self.outer = nn.Conv1d(10, 8, 1)
        self.outer_norm = nn.BatchNorm1d(8)
        self.frames = nn.Linear(8, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem_norm(self.stem(x)).relu()
        z = self.inner_norm(self.inner(y)).relu()
        y = (y + self.outer_norm(self.outer(z))).relu()
        return self.head(self.frames(y.transpose(1, 2)).relu().mean(1))


def mlp(inputs: int = 6, hidden: int = 16, classes: int = 2) -> nn.Sequential:
    """(B, inputs) -> (B, classes)."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def randomise_norms(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics and coefficients of a trained network; the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                for tensor in (module.running_mean, module.bias):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
                for tensor in (module.running_var, module.weight):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


@dataclass(frozen=True)
class Points(Task):
    """Two classes of points in six dimensions that a linear layer can nearly tell apart."""

    metric: ClassVar = Metric("error", unit="percent", direction="minimize")
    presets: ClassVar = {"quick": Plan(dense_steps=60, finetune_steps=40, batch_size=16, learning_rate=1e-2)}

    hidden: int = 16

    def build_model(self) -> nn.Module:
        return mlp(6, self.hidden)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(10**9 if split == "train" else 4):
            targets = torch.randint(2, (self.batch_size,), generator=generator)
            inputs = torch.randn(self.batch_size, 6, generator=generator) + (targets[:, None] - 0.5) * 1.5
            yield Batch(inputs, targets)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch.inputs), batch.targets)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        wrong = [predict(b.inputs).argmax(1) != b.targets for b in self.batches(split, 1)]
        return {self.metric.column: 100 * float(torch.cat(wrong).float().mean())}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 6)
