"""A task of your own: one file, one class, found by its name in the folder ``tasks/``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench import BenchError, Classification, Plan, Split, quick_plan


@dataclass(frozen=True)
class OwnTask(Classification):
    """Which digit is this? 8 by 8 pixels, scikit-learn's copy of the UCI digits. (Say what yours is about.)

    A task that does not classify extends ``bench.Task`` instead: help(bench.Task) lists what it defines.

    Attributes:
        width: channels of the first convolution; `bench run own_task --set width=32` sets it.
        data_seed: which images are in which split.
    """

    presets: ClassVar[Mapping[str, Plan]] = {  # everybody's training effort; which methods run, as in the other tasks
        "smoke": quick_plan(dense_steps=150, finetune_steps=50, batch_size=64, learning_rate=1e-2, seeds=1, also=()),
        "quick": quick_plan(dense_steps=600, finetune_steps=200, batch_size=64, learning_rate=1e-2),
    }

    width: int = 16
    data_seed: int = 0

    def check(self) -> None:
        """What the user can correct, before anything starts."""
        _digits()
        if not 1 <= self.width <= 1024:
            raise BenchError(f"own_task: width is {self.width}, expected 1 to 1024")

    def examples(self, split: Split) -> tuple[Tensor, Tensor]:
        """All images of a split, (n, 1, 8, 8) from 0 to 1, and their digits, (n,): 60, 20 and 20 %."""
        images, digits = _digits()
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.data_seed))
        first, last = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "eval": (0.8, 1.0)}[split]
        chosen = order[round(first * len(order)) : round(last * len(order))]
        return images[chosen], digits[chosen]

    def build_model(self) -> nn.Module:
        """The dense model, freshly initialised: (B, 1, 8, 8) to (B, 10) logits."""
        width = self.width
        return nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(8 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10)),
        )


@cache
def _digits() -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BenchError("own_task reads its images from scikit-learn: pip install scikit-learn") from error
    images, digits = load_digits(return_X_y=True)
    return torch.from_numpy(np.float32(images / 16)).reshape(-1, 1, 8, 8), torch.from_numpy(np.int64(digits))
