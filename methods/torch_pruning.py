"""Torch-Pruning's own pruner, from its graph to its cut."""

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from bench import Declined, Method, Trainer, largest_model, tune


@dataclass(frozen=True)
class TorchPruning(Method):
    """What the README of Torch-Pruning does, so that its users see what they have (Fang et al., arXiv 2301.12900).

    Its dependency graph, its group norms, its global pruner in one shot, then fine-tuning. It prunes by a share of the
    channels; the largest network within the budget is found by bisection. Layers that make the outputs stay.
    """

    stage = "post_hoc"
    budget: float = tune(0.25, low=1 / 16, high=1.0, log=True)
    norm: int = tune(2, choices=(1, 2))
    global_pruning: bool = tune(True, choices=(True, False))

    def compress(self, model: nn.Module, trainer: Trainer) -> nn.Module:
        """Look for the pruning ratio, prune, fine-tune."""
        example = next(trainer.batches()).inputs[:1]
        found = largest_model(lambda share: self._pruned(model, example, 1 - share), trainer.cost, self.budget)
        trainer.fit(found)
        return found

    def _pruned(self, model: nn.Module, example: Tensor, ratio: float) -> nn.Module:
        small = copy.deepcopy(model)
        options: dict[str, Any] = {"pruning_ratio": ratio, "global_pruning": self.global_pruning}
        heads = [module.num_heads for module in small.modules() if isinstance(module, nn.MultiheadAttention)]
        options["round_to"] = math.lcm(*heads) if heads else None  # as its own examples do: features go to every head
        importance = tp.importance.GroupMagnitudeImportance(p=self.norm)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it advises its own users
                pruner = tp.pruner.BasePruner(small, example, importance, ignored_layers=_outputs(small), **options)
                pruner.step()
            with torch.no_grad():
                made, expected = small.eval()(example).shape, model.eval()(example).shape
        except Exception as error:  # of a library that was made for other networks
            raise Declined(f"Torch-Pruning cannot prune this network: {type(error).__name__}: {error}") from error
        if made != expected:
            raise Declined(f"Torch-Pruning changes the outputs of this network from {expected} to {made}")
        return small


def _outputs(model: nn.Module) -> list[nn.Module]:
    """The last layer with weights, in the order of the model."""
    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]
    return layers[-1:]
