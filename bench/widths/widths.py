"""One object for the widths of one model."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.measure.macs import count_macs
from bench.widths.cost import layer_costs
from bench.widths.graph import Group, Member, build_graph, coupled, find_groups
from bench.widths.solve import Sizes, largest_within

#: (features (B, n, ...), channels (n,)) -> features of the same shape; ``channels`` says which channel of the group
#: stands at each of the n positions, so that coefficients c of shape (B, size) apply as ``c[:, channels]``
Gate = Callable[[Tensor, Tensor], Tensor]


class Widths:
    """The groups of channels of a model, their cost, gates on them, and the physically smaller model.

    Args:
        model: any model of known layers; it is left as it is, in eval mode.
        example_input: one unit of work, batch of one; MACs are those of this input.
        reference_macs: what a budget is a fraction of; the model's own MACs unless given.
        multiple: the solvers choose widths that are multiples of this (runtimes like 8), or the whole group.

    Raises:
        BenchError: the model has an operator that the graph does not know; the message names it.
    """

    def __init__(
        self, model: nn.Module, example_input: Tensor, reference_macs: int | None = None, multiple: int = 1
    ) -> None:
        self.model = model.eval()
        self.example_input = example_input
        self.multiple = multiple
        self._graph = build_graph(model, example_input)
        self.groups: tuple[Group, ...] = find_groups(model, self._graph)
        self.sizes: Sizes = {group.name: group.size for group in self.groups}
        self._costs = layer_costs(model, self.groups, example_input)
        counted = count_macs(model, example_input)
        if self.macs(self.sizes) != counted:
            raise BenchError(
                f"the width graph accounts for {self.macs(self.sizes):,} of the {counted:,} MACs of "
                f"{type(model).__name__}: it has a costly operation outside convolutions and linear layers"
            )
        self._check_removal()
        self.reference_macs = counted if reference_macs is None else reference_macs

    def macs(self, sizes: Mapping[str, Any]) -> Any:
        """MACs for these sizes (integers, or real tensors of shape (), which gradients pass through).

        Groups that are not named keep all their channels.
        """
        self._known(sizes)
        live = {**self.sizes, **sizes}
        return sum(cost.macs(live) for cost in self._costs)

    def norms(self, p: int = 2) -> dict[str, Tensor]:
        """The norm of each channel over all coupled layers, divided by its group's mean (Fang et al., 2301.12900)."""
        import torch_pruning

        importance = torch_pruning.importance.GroupMagnitudeImportance(p=p, normalizer="mean")
        return {g.name: importance(coupled(self._graph, self.model, g.root))[g.root_channels] for g in self.groups}

    def proportional(self, sizes: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Scores under which the first channels are kept, in each group in proportion to ``sizes``."""
        target = {**self.sizes, **(sizes or {})}
        return {n: -(torch.arange(size) + 0.5) / float(target[n]) for n, size in self.sizes.items()}

    def largest(self, scores: Mapping[str, Tensor], budget: float) -> Sizes:
        """How many channels of each group the largest model within ``budget`` keeps; see ``largest_within``."""
        self._known(scores)
        return largest_within(scores, self.macs, budget * self.reference_macs, self.multiple)

    def strongest(self, scores: Mapping[str, Tensor], budget: float) -> dict[str, Tensor]:
        """The channels of the largest model within ``budget``, best scores first, as sorted indices."""
        sizes = self.largest(scores, budget)
        return {name: torch.topk(scores[name], size).indices.sort().values for name, size in sizes.items()}

    def keep(self, indices: Mapping[str, Tensor]) -> nn.Module:
        """The physically smaller model, a copy; in eval mode it equals the model gated with the same channels."""
        self._known(indices)
        dead: dict[str, list[int]] = {}  # by root, since removal numbers the channels of a root anew
        for group in self.groups:
            wanted = {int(i) for i in indices.get(group.name, range(group.size))}
            if not wanted or not wanted <= set(range(group.size)):
                raise BenchError(
                    f"group {group.name!r} has channels 0 to {group.size - 1} and needs at least one; asked to keep "
                    f"{sorted(wanted)}"
                )
            removed = sorted(set(range(group.size)) - wanted)
            dead.setdefault(group.root, []).extend(group.root_channels[removed].tolist())
        small = copy.deepcopy(self.model)
        graph = build_graph(small, self.example_input)
        for root, channels in dead.items():
            if channels:
                coupled(graph, small, root, sorted(channels)).prune()
        return small

    @contextmanager
    def gate(self, gates: Mapping[str, Gate]) -> Iterator[None]:
        """While this context lasts, the features of the named groups pass through gates where they are consumed.

        That is the last point after norm and activation, whatever the architecture; batch statistics and the
        residual stream itself stay as they are. The hooks are gone afterwards.
        """
        self._known(gates)
        hooks = [
            self.model.get_submodule(member.layer).register_forward_pre_hook(_gate_hook(member, gates[group.name]))
            for group in self.groups
            if group.name in gates
            for member in group.consumers
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _check_removal(self) -> None:
        """Remove half of every group's channels and compare with masking them: a graph that went astray shows here."""
        generator = torch.Generator().manual_seed(0)
        kept = {n: torch.randperm(s, generator=generator)[: (s + 1) // 2] for n, s in self.sizes.items()}
        masks = {n: torch.zeros(self.sizes[n]).index_fill(0, k, 1.0) for n, k in kept.items()}

        def gate(mask: Tensor) -> Gate:
            return lambda features, channels: features * mask[channels].view(1, -1, *[1] * (features.dim() - 2))

        example = torch.randn(self.example_input.shape, generator=generator)
        try:
            with torch.no_grad():
                small = self.keep(kept)
                removed = small(example)
                with self.gate({name: gate(mask) for name, mask in masks.items()}):
                    masked = self.model(example)
            same = torch.allclose(removed, masked, rtol=1e-3, atol=1e-4 * float(masked.abs().max()))
            same = same and count_macs(small, self.example_input) == self.macs({n: len(k) for n, k in kept.items()})
        except (RuntimeError, IndexError):
            same = False
        if not same:
            raise BenchError(f"the width graph cannot follow what {type(self.model).__name__} does between its layers")

    def _known(self, names: Mapping[str, Any]) -> None:
        for name in names:
            if name not in self.sizes:
                raise BenchError(f"no width group is called {name!r}; there are: {', '.join(self.sizes)}")


def _gate_hook(member: Member, gate: Gate) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        last = isinstance(module, nn.Linear)  # a linear layer reads its features from the last axis
        features = inputs[0].movedim(-1, 1) if last else inputs[0]
        if len(member.positions) == features.shape[1]:
            features = gate(features, member.channels)
        else:
            gated = gate(features[:, member.positions], member.channels)
            features = features.index_copy(1, member.positions, gated)
        return (features.movedim(1, -1) if last else features, *inputs[1:])

    return hook
