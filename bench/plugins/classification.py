"""A base for the usual task: examples that fit into memory, one class each."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.plugins.task import Batch, ItemScores, Metric, Predict, Split, Task, per_split

TEMPERATURE = 2.0
SCORED_AT_ONCE = 256


def soft_divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far the classes (B, C, ...) of a model are from a teacher's, shape (): Kullback-Leibler at ``TEMPERATURE``.

    It is multiplied by the squared temperature, so that its gradients are as large as those of a cross-entropy
    (Hinton et al., arXiv 1503.02531, section 2).
    """
    wanted, said = (functional.log_softmax(own / TEMPERATURE, dim=1) for own in (teacher, logits))
    return TEMPERATURE**2 * functional.kl_div(said, wanted, reduction="none", log_target=True).sum(1).mean()


@dataclass(frozen=True)
class Classification(Task):
    """A task whose examples fit into memory and have one class each. Score: the share of wrong ones, in percent.

    A subclass has ``presets``, ``examples`` and ``build_model``, whose models give logits (B, classes). It may override
    the rest, such as ``batches`` for random crops.
    """

    metric = Metric("error", unit="percent", direction="minimize")

    @abstractmethod
    def examples(self, split: Split) -> tuple[Tensor, Tensor]:
        """All examples of a split, the same at every call: inputs (n, ...) in float32, classes (n,) in int64."""

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Endless passes in random order for train; one pass in the order of the examples for dev and eval."""
        inputs, classes = self._kept(split)
        if split != "train":
            yield from map(Batch, torch.split(inputs, SCORED_AT_ONCE), torch.split(classes, SCORED_AT_ONCE))
            return
        generator = torch.Generator().manual_seed(seed)
        while True:
            for chosen in torch.split(torch.randperm(len(inputs), generator=generator), self.batch_size):
                yield Batch(inputs[chosen], classes[chosen])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(model(batch.inputs), batch.targets)

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Divergence of the softened classes."""
        return soft_divergence(outputs, teacher)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """The share of examples whose largest logit is that of another class, in percent."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        """100 for an example that is wrong and 0 for another; each is a unit of its own."""
        wrong = torch.cat([predict(b.inputs).argmax(1) != b.targets for b in self.batches(split, 0)])
        return ItemScores(100.0 * wrong.double().numpy(), None, np.arange(len(wrong)))

    def example_input(self) -> Tensor:
        """One example: (1, ...)."""
        return torch.zeros_like(self._kept("train")[0][:1])

    @per_split
    def _kept(self, split: Split) -> tuple[Tensor, Tensor]:
        return self.examples(split)
