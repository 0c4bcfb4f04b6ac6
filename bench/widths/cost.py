"""A model's multiply-accumulates as a function of its widths: exact at integers, differentiable in between."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.widths.atoms import Labels
from bench.widths.graph import Graph


@dataclass(frozen=True)
class Extent:
    """How many entries of an axis are live: ``fixed`` plus ``repeats[name]`` for each channel of a group."""

    fixed: int
    repeats: Mapping[str, int]

    def live(self, sizes: Mapping[str, Any]) -> Any:
        """The live entries for these group sizes."""
        return self.fixed + sum(count * sizes[name] for name, count in self.repeats.items())


@dataclass(frozen=True)
class ProductCost:
    """A product costs ``unit`` MACs for every pair of a live input and a live output."""

    unit: int
    inputs: Extent
    outputs: Extent

    def macs(self, sizes: Mapping[str, Any]) -> Any:
        """MACs of the product for these group sizes."""
        return self.unit * self.inputs.live(sizes) * self.outputs.live(sizes)


def product_costs(graph: Graph) -> tuple[ProductCost, ...]:
    """The cost of every product with a weight, and of every product of activations."""
    return tuple(ProductCost(p.unit, _extent(graph, p.read), _extent(graph, p.made)) for p in graph.products)


def _extent(graph: Graph, atoms: Labels) -> Extent:
    owners = graph.group_of[atoms]
    repeats = {
        graph.groups[index].name: int(count) // graph.groups[index].size
        for index, count in zip(*np.unique(owners[owners >= 0], return_counts=True), strict=True)
    }
    return Extent(int((owners < 0).sum()), repeats)
