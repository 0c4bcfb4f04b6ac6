"""One object for the widths of one model."""

import copy
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.widths.cost import Price, Sizes, count_macs, largest_within, product_costs, smallest_sizes
from bench.widths.flexible import make_flexible
from bench.widths.gating import Gate, Live, batch_axes, gated
from bench.widths.groups import Group, build_graph
from bench.widths.removal import Attributes, find_attributes, without


class Widths:
    """The groups of channels of a model, their cost, gates on them, and the physically smaller model.

    Args:
        model: any model of known operators; left in eval mode. Its recurrent and attention layers are given their
            flexible form: the same layers, the same parameters, the same results.
        example_input: one unit of work, batch of one; MACs are those of this input.
        reference_macs: what a budget is a fraction of; the model's own MACs unless given.
        multiple: the solvers choose widths that are multiples of this (runtimes like 8), or the whole group.
        input_axis: axis of the input whose entries (mel bands) are a width of the model too; None if none.
        price: what budgets are shares of; MACs unless given.

    Raises:
        BenchError: the model has an operator that the graph does not know; the message names it.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        reference_macs: int | None = None,
        multiple: int = 1,
        input_axis: int | None = None,
        *,
        price: Price | None = None,
    ) -> None:
        make_flexible(model)
        self.model = model.eval()
        self.example_input = example_input
        self.multiple = multiple
        plain = copy.deepcopy(model).cpu()
        graph = build_graph(plain, example_input.cpu(), input_axis)
        self.groups: tuple[Group, ...] = graph.groups
        self._all = self.groups
        self.products = product_costs(graph)
        self._batch_axes = batch_axes(plain, example_input.cpu())
        counted = count_macs(plain, example_input.cpu())
        if self.macs(self.sizes) != counted:
            raise BenchError(
                f"the width graph accounts for {self.macs(self.sizes):,} of the {counted:,} MACs of "
                f"{type(model).__name__}: it has a costly operation that the graph does not see"
            )
        self._attributes: Attributes = {}
        self._attributes = find_attributes(plain, self.groups, self._removal_is_masking)
        self.reference_macs = counted if reference_macs is None else reference_macs
        self.price = price or Price("macs", self.products, self.reference_macs)

    @property
    def sizes(self) -> Sizes:
        """The number of channels of each group."""
        return {group.name: group.size for group in self.groups}

    @property
    def least(self) -> Sizes:
        """The number of channels that each group needs."""
        return {group.name: group.least for group in self.groups}

    def without(self, names: Iterable[str]) -> Self:
        """The same widths, but for these groups, which keep all their channels."""
        left_out = dict.fromkeys(names)
        self._known(left_out)
        return self._with_groups([group for group in self.groups if group.name not in left_out])

    def only(self, prefixes: Iterable[str]) -> Self:
        """The same widths, but only the groups whose names begin with one of these; a ``BenchError`` if none does."""
        prefixes = tuple(prefixes)
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in self.sizes):
                raise BenchError(f"no width group begins with {prefix!r}; there are: {', '.join(self.sizes)}")
        return self._with_groups([group for group in self.groups if group.name.startswith(prefixes)])

    def macs(self, sizes: Mapping[str, Any]) -> Any:
        """MACs for these sizes (integers, or real tensors of shape (), which gradients pass through).

        Groups that are not named keep all their channels.
        """
        return sum(cost.at(self._live(sizes)) for cost in self.products)

    def cost(self, sizes: Mapping[str, Any] | None = None) -> Any:
        """What a model of these sizes costs, as a share of the dense model's MACs or of what else budgets are in.

        Sizes are as for ``macs``; those of the model itself unless given.
        """
        return self.price.share(self._live(sizes or {}))

    @property
    def weight_macs(self) -> dict[str, int]:
        """MACs of the products with each weight, by its qualified name; those of two activations are left out."""
        found: dict[str, int] = {}
        for cost in self.products:
            if cost.weight:
                found[cost.weight] = found.get(cost.weight, 0) + cost.at(self._live({}))
        return found

    @property
    def smallest_budget(self) -> float:
        """The cost of the smallest model that the solvers can reach, as a share of the dense model's."""
        return float(self.cost(smallest_sizes(self.sizes, self.multiple, self.least)))

    def norms(self, p: int = 2) -> dict[str, Tensor]:
        """The p-norm of each channel to the power p, averaged over all coupled weights, as a share of its group's mean.

        Every weight that makes, scales or reads the channel counts alike (Fang et al. 2023, arXiv 2301.12900).
        """
        with torch.no_grad():
            means = {name: powers.mean(0) for name, powers in self.powers(p).items()}
        return {name: (mean / mean.mean().clamp(min=1e-30)).cpu() for name, mean in means.items()}

    def powers(self, p: int = 2) -> dict[str, Tensor]:
        """The p-norm of each channel to the power p, by coupled weight, (weights, size); gradients pass through."""
        parameters, found = dict(self.model.named_parameters()), {}
        for group in self.groups:
            sums = []
            for part in group.parts:
                if "weight" in part.parameter and part.tensor in parameters:
                    weight = parameters[part.tensor].abs().pow(p)[..., None]
                    powers = weight.movedim(part.axis, 0).flatten(1).sum(1)[part.positions]
                    sums.append(powers.new_zeros(group.size).index_add(0, part.channels.to(powers.device), powers))
            found[group.name] = torch.stack(sums)
        return found

    def proportional(self, sizes: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Scores under which the first channels are kept, in each group in proportion to ``sizes``."""
        target = {**self.sizes, **(sizes or {})}
        return {n: -(torch.arange(size) + 0.5) / float(target[n]) for n, size in self.sizes.items()}

    def largest(self, scores: Mapping[str, Tensor], budget: float) -> Sizes:
        """How many channels of each group the largest model within ``budget`` keeps; see ``largest_within``."""
        self._known(scores)
        return largest_within(scores, self.cost, budget, self.multiple, self.least)

    def strongest(self, scores: Mapping[str, Tensor], budget: float) -> dict[str, Tensor]:
        """The channels of the largest model within ``budget``, best scores first, as sorted indices."""
        sizes = self.largest(scores, budget)
        return {name: torch.topk(scores[name], size).indices.sort().values for name, size in sizes.items()}

    def keep(self, indices: Mapping[str, Tensor]) -> nn.Module:
        """The physically smaller model, a copy; in eval mode it equals the model gated with the same channels."""
        return without(self.model, self._all, self._dead(indices), self._attributes)

    def gate(self, gates: Mapping[str, Gate], live: Mapping[str, Live] | None = None) -> AbstractContextManager[None]:
        """While this context lasts, the features of the named groups pass through gates where they are consumed.

        That is the last point after norm and activation, whatever the architecture; batch statistics and the
        residual stream itself stay as they are. The hooks are gone afterwards.

        Args:
            gates: by group. On a recurrent group a gate sees columns of weights and must not differ between examples.
            live: by group, for a gate that takes features away: how far each channel counts in the statistics of a
                LayerNorm over the group; all count unless given.
        """
        self._known({**gates, **(live or {})})
        return gated(self.model, self._batch_axes, self.groups, gates, live or {})

    def mask(self, indices: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """While this context lasts, the model computes as if it had these channels only, as ``keep`` would leave it."""
        alive = {name: _alive(dead) for name, dead in self._dead(indices).items() if name in self.sizes}
        return self.gate({n: gate for n, (gate, _) in alive.items()}, {n: live for n, (_, live) in alive.items()})

    @torch.no_grad()
    def scale(self, factors: Mapping[str, Tensor]) -> None:
        """Multiply what each channel sends to its consumers, in their weights, by factors (size,): a permanent gate."""
        self._known(factors)
        for group in self.groups:
            for member in group.consumers if group.name in factors else ():
                weight = self.model.get_parameter(member.tensor).transpose(0, member.axis)
                factor = factors[group.name].to(weight)[member.channels]
                weight[member.positions] *= factor.view(-1, *[1] * (weight.dim() - 1))

    def _live(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of all groups, these and the others; of what is in no group there is one."""
        self._known(sizes)
        return {"": 1, **{group.name: group.size for group in self._all}, **sizes}

    def _with_groups(self, groups: list[Group]) -> Self:
        other = copy.copy(self)
        other.groups = tuple(groups)
        return other

    def _dead(self, indices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For every group a mask of the channels that go."""
        self._known(indices)
        dead = {}
        for group in self._all:
            wanted = {int(i) for i in indices.get(group.name, range(group.size))}
            if not wanted or not wanted <= set(range(group.size)):
                raise BenchError(
                    f"group {group.name!r} has channels 0 to {group.size - 1} and needs at least one; asked to keep "
                    f"{sorted(wanted)}"
                )
            dead[group.name] = torch.ones(group.size, dtype=torch.bool)
            dead[group.name][sorted(wanted)] = False
        return dead

    def _removal_is_masking(self, attributes: Attributes) -> bool:
        """Remove about half of every group's channels and compare with masking them: a graph gone astray shows here."""
        generator = torch.Generator().manual_seed(0)
        kept = {}
        for i, (name, size) in enumerate(self.sizes.items()):
            count = 1 if size == 1 else 1 + (size // 2 + i) % (size - 1)  # groups of one size keep different numbers
            kept[name] = torch.randperm(size, generator=generator)[:count]
        drawn = torch.randn(self.example_input.shape, generator=generator).to(self.example_input)
        example = drawn if drawn.is_floating_point() else self.example_input  # not every integer is an index
        try:
            with torch.no_grad():
                small = without(self.model, self._all, self._dead(kept), attributes).eval()
                removed = small(example)
                with self.mask(kept):
                    masked = self.model(example)
            same = torch.allclose(removed, masked, rtol=1e-3, atol=1e-4 * float(masked.abs().max()))
            return same and count_macs(small, self.example_input) == self.macs({n: len(k) for n, k in kept.items()})
        except (RuntimeError, IndexError):
            return False

    def _known(self, names: Mapping[str, Any]) -> None:
        if unknown := sorted(set(names) - set(self.sizes)):
            raise BenchError(f"no width group is called {unknown[0]!r}; there are: {', '.join(self.sizes)}")


def _alive(dead: Tensor) -> tuple[Gate, Live]:
    mask = (~dead).float()
    return (
        lambda x, channels: x * mask.to(x)[channels].view(1, -1, *[1] * (x.dim() - 2)),
        lambda channels: mask[channels][None],
    )
