"""One object for the widths of one model."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from bench.errors import BenchError, BudgetError, Declined, said
from bench.widths.cost import (
    Price,
    ProductCost,
    Sizes,
    count_by_weight,
    count_macs,
    largest_within,
    product_costs,
    smallest_sizes,
)
from bench.widths.flexible import make_flexible
from bench.widths.gating import Gate, Live, batch_axes, gated
from bench.widths.groups import Graph, Group, build_graph, tied
from bench.widths.removal import Attributes, redrawn, settle, without
from bench.widths.trace import Layer, named_layers

CLOSE = 0.95  # of a budget, that is close enough
MEASURED = 8  # times, at most, that a model is measured to come as close


class Widths:
    """The groups of channels of a model, their cost, gates on them, and the physically smaller model.

    Args:
        model: any model of known operators; left in eval mode. Its recurrent and attention layers are given their
            flexible form: the same layers, the same parameters, the same results.
        example_input: one unit of work, batch of one; MACs are those of this input.
        reference_macs: what a budget is a fraction of; the model's own MACs unless given.
        multiple: the solvers choose widths that are multiples of this (runtimes like 8), or the whole group.
        input_axis: axis of the input whose entries (mel bands) are a width of the model too; None if none.
        strict: otherwise a model that the graph cannot follow has its costs, and what needs its widths is ``Declined``.
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
        strict: bool = True,
        price: Price | None = None,
    ) -> None:
        make_flexible(model)
        self.model = model.eval()
        self.example_input = example_input
        self.multiple = multiple
        plain = copy.deepcopy(model).cpu()
        for parameter in plain.parameters():  # PyTorch computes frozen layers by other operators
            parameter.requires_grad_(parameter.is_floating_point())
        by_weight = count_by_weight(plain, example_input.cpu())
        counted = sum(by_weight.values())
        self.reference_macs = counted if reference_macs is None else reference_macs
        self.groups: tuple[Group, ...] = ()
        self.fixed: dict[str, str] = {}  # groups that stay as they are, and why
        self._all: tuple[Group, ...] = ()
        self._pinned: dict[str, str] = {}
        self._attributes: Attributes = {}
        self._unknown = ""  # why the graph cannot follow the model
        try:
            self._follow(plain, example_input.cpu(), input_axis, counted)
        except BenchError as error:
            if strict:
                raise
            self._unknown, self._all = str(error), ()
            self.products = tuple(ProductCost(weight, macs, {"": 1}, {"": 1}) for weight, macs in by_weight.items())
        self.price = price or Price("macs", self.products, self.reference_macs)

    def _follow(self, plain: nn.Module, example_input: Tensor, input_axis: int | None, counted: int) -> None:
        """Find the groups of a copy of the model, what they cost, and which of them can be cut."""
        graph = build_graph(plain, example_input, input_axis)
        self._use(graph)
        self._batch_axes = batch_axes(plain, example_input)
        if self.macs(self.sizes) != counted:
            raise BenchError(
                f"the width graph accounts for {self.macs(self.sizes):,} of the {counted:,} MACs of "
                f"{type(plain).__name__}: it has a costly operation that the graph does not see"
            )
        sound: list[Group] = []
        fault = partial(self._fault, redrawn(plain))
        self.fixed = settle(plain, self._all, fault, (self._attributes, sound))
        if self.fixed:
            self._use(tied(graph, self.fixed))
            rest = [group for group in self._all if group not in sound]
            self.fixed = settle(plain, rest, fault, (self._attributes, sound))
        self.groups = tuple(group for group in self._all if group.name not in self.fixed)
        if self.fixed and not self.groups:
            name, why = next(iter(self.fixed.items()))
            raise BenchError(f"the width graph cannot reduce {type(plain).__name__}: of {name!r}, {why}")

    def _use(self, graph: Graph) -> None:
        self.groups = self._all = graph.groups
        self.products, self._norms, self._pinned = product_costs(graph), graph.norms, dict(graph.pinned)

    @property
    def sizes(self) -> Sizes:
        """The number of channels of each group; ``Declined`` if the graph cannot follow the model."""
        if self._unknown:
            raise Declined(self._unknown)
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
        return self._macs_by_weight(self._live({}))

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
        parameters, found = dict(self.model.named_parameters()), dict.fromkeys(self.sizes, torch.empty(0))
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
        """How many channels of each group the largest model within ``budget`` keeps; see ``largest_within``.

        Where the price is fitted, a model of these sizes is measured, and what it is off is made up for.
        """
        self._known(scores)
        try:
            sizes = largest_within(scores, self.cost, budget, self.multiple, self.least)
        except BudgetError as error:
            raise BudgetError(f"{error}; {self._what_stays()}") from None
        return sizes if self.price.measured is None else self._corrected(sizes, scores, budget, self.price.measured)

    def _corrected(
        self, sizes: Sizes, scores: Mapping[str, Tensor], budget: float, measured: Callable[[nn.Module], float]
    ) -> Sizes:
        """The largest of some sizes that have been measured to be within the budget; the last if none are."""
        best, best_share, aim = None, 0.0, budget
        for _ in range(MEASURED):
            share = measured(self.keep({name: torch.arange(size) for name, size in sizes.items()}))
            if best_share < share <= budget:
                best, best_share = sizes, share
            if best_share >= CLOSE * budget:
                break
            aim = min(1.0, aim * (1 + CLOSE) / 2 * budget / share)
            try:
                sizes = largest_within(scores, self.cost, aim, self.multiple, self.least)
            except BudgetError:  # as far as it goes
                break
        return best or sizes

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
        return gated(self.model, self._batch_axes, self._norms, self.groups, gates, live or {})

    def mask(self, indices: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """While this context lasts, the model computes as if it had these channels only, as ``keep`` would leave it."""
        return self._masked(self.model, indices)

    @torch.no_grad()
    def scale(self, factors: Mapping[str, Tensor]) -> None:
        """Multiply what each channel sends to its consumers, in their weights, by factors (size,): a permanent gate."""
        self._known(factors)
        for group in self.groups:
            for member in group.consumers if group.name in factors else ():
                weight = self.model.get_parameter(member.tensor).transpose(0, member.axis)
                factor = factors[group.name].to(weight)[member.channels]
                weight[member.positions] *= factor.view(-1, *[1] * (weight.dim() - 1))

    def _masked(self, model: nn.Module, indices: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        alive = {name: _alive(dead) for name, dead in self._dead(indices).items() if name in self.sizes}
        gates, live = {n: gate for n, (gate, _) in alive.items()}, {n: live for n, (_, live) in alive.items()}
        return gated(model, self._batch_axes, self._norms, self.groups, gates, live)

    @property
    def unreducible(self) -> dict[str, str]:
        """The weights of which channels must stay whatever the budget, and why, by qualified name."""
        reasons = dict(self._pinned)
        for group in self._all:
            if group.name in self.fixed:
                reasons |= {part.tensor: self.fixed[group.name] for part in (*group.producers, *group.consumers)}
        return reasons

    def _what_stays(self) -> str:
        """Which weight costs most in the smallest model, and why no more of it can go."""
        live = self._live(smallest_sizes(self.sizes, self.multiple, self.least))
        weight, macs = max(self._macs_by_weight(live).items(), key=lambda item: item[1])
        why = self.unreducible.get(weight, "its channels go only together")
        return f"the costliest weight left is {weight!r} with {macs:,} MACs: {why}"

    def _macs_by_weight(self, live: Mapping[str, int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for cost in self.products:
            if cost.weight:
                found[cost.weight] = found.get(cost.weight, 0) + cost.at(live)
        return found

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

    def _fault(self, model: nn.Module, groups: Sequence[Group], attributes: Attributes) -> str:
        """What goes wrong when about half of the channels of these groups go; a graph gone astray shows here."""
        generator = torch.Generator().manual_seed(0)
        kept = {}
        for i, (name, size) in enumerate((group.name, group.size) for group in groups):
            count = 1 if size == 1 else 1 + (size // 2 + i) % (size - 1)  # groups of one size keep different numbers
            kept[name] = torch.randperm(size, generator=generator)[:count]
        drawn = torch.randn(self.example_input.shape, generator=generator).to(self.example_input)
        example = drawn if drawn.is_floating_point() else self.example_input  # not every integer is an index
        small = without(model, self._all, self._dead(kept), attributes)
        layers: list[Layer] = []
        try:
            with torch.no_grad(), named_layers(small, layers):
                removed = small(example)
        except Exception as error:  # of somebody else's code
            return (
                f"fewer channels do not pass through {layers[-1]} ({said(error)}): let it take "
                "shapes from its weights or inputs, or keep the number in an attribute of the layer"
            )
        with torch.no_grad(), self._masked(model, kept):
            masked = model(example)
        if not torch.allclose(removed, masked, rtol=1e-3, atol=1e-4 * float(masked.abs().max())):
            return "the smaller model does not compute what the masked one does"
        right = count_macs(small, self.example_input) == self.macs({n: len(k) for n, k in kept.items()})
        return "" if right else "the smaller model does not cost what was predicted"

    def _known(self, names: Mapping[str, Any]) -> None:
        if names and (unknown := sorted(set(names) - set(self.sizes))):
            raise BenchError(f"no width group is called {unknown[0]!r}; there are: {', '.join(self.sizes)}")


def _alive(dead: Tensor) -> tuple[Gate, Live]:
    mask = (~dead).float()
    return (
        lambda x, channels: x * mask.to(x)[channels].view(1, -1, *[1] * (x.dim() - 2)),
        lambda channels: mask[channels][None],
    )
