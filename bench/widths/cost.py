"""A model's multiply-accumulates as a function of its widths: exact at integers, differentiable in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.widths.graph import COSTLY, Group, is_depthwise

Size = TypeVar("Size", int, Tensor)


@dataclass(frozen=True)
class Axis:
    """How many entries of a layer's axis are live: ``fixed`` plus ``repeats[name]`` for each channel of a group."""

    fixed: int
    repeats: Mapping[str, int]

    def live(self, sizes: Mapping[str, Any]) -> Any:
        """The live entries for these group sizes."""
        return self.fixed + sum(count * sizes[name] for name, count in self.repeats.items())


@dataclass(frozen=True)
class LayerCost:
    """The layer costs ``unit`` MACs for every pair of a live input and a live output channel."""

    unit: int
    inputs: Axis
    outputs: Axis

    def macs(self, sizes: Mapping[str, Any]) -> Any:
        """MACs of the layer for these group sizes."""
        return self.unit * self.inputs.live(sizes) * self.outputs.live(sizes)


def layer_costs(model: nn.Module, groups: Sequence[Group], example_input: Tensor) -> tuple[LayerCost, ...]:
    """The cost of every convolution and linear layer, with the output positions that a run of the model shows."""
    positions = _output_positions(model, example_input)
    costs = []
    for name, module in model.named_modules():
        if not isinstance(module, COSTLY):
            continue
        outputs = _axis(name, module.weight.shape[0], groups, "producers")
        alone = is_depthwise(module)  # input and output channel are the same one
        inputs = Axis(1, {}) if alone else _axis(name, module.weight.shape[1], groups, "consumers")
        costs.append(LayerCost(positions.get(name, 0) * prod(module.weight.shape[2:]), inputs, outputs))
    return tuple(costs)


def _axis(layer: str, length: int, groups: Sequence[Group], role: str) -> Axis:
    repeats, covered = {}, 0
    for group in groups:
        for member in getattr(group, role):
            if member.layer == layer:
                repeats[group.name] = len(member.positions) // group.size
                covered += len(member.positions)
    return Axis(length - covered, repeats)


def _output_positions(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    positions: dict[str, int] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            channels = output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1]
            positions[name] = positions.get(name, 0) + output.numel() // (len(output) * channels)

        return hook

    hooks = [m.register_forward_hook(remember(n)) for n, m in model.named_modules() if isinstance(m, COSTLY)]
    with torch.no_grad():
        model(example_input)
    for hook in hooks:
        hook.remove()
    return positions
