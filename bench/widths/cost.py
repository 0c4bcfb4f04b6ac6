"""What widths cost: MACs counted, as a function of the widths, and the largest model within a budget."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.errors import BenchError, BudgetError
from bench.widths import CostAxis
from bench.widths.flexible import unfused_attention
from bench.widths.groups import Graph
from bench.widths.labels import Labels
from bench.widths.trace import by_parts

#: what PyTorch's tags say of operators without multiply-accumulates worth the name
_FREE_TAGS = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.inplace_view}
#: the others without any
_FREE = set(
    """
    native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_layer_norm native_group_norm
    max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    adaptive_max_pool2d adaptive_max_pool3d constant_pad_nd cumsum sort topk pixel_shuffle pixel_unshuffle
    _softmax _safe_softmax _log_softmax glu cat stack copy _to_copy _unsafe_view unsafe_split unsafe_chunk embedding
    index index_select index_put gather masked_fill bincount tril triu repeat flip roll fill zero empty empty_like zeros
    zeros_like ones ones_like full full_like arange scalar_tensor new_zeros new_empty new_full new_ones
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d bernoulli
    native_dropout upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_trilinear3d upsample_bicubic2d squeeze item _local_scalar_dense _prelu_kernel
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask _thnn_fused_gru_cell
    _thnn_fused_lstm_cell
    """.split()
)


class _MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = defaultdict(int)  # by the name of the weight; of no weight, under ""
        self._names = {p.untyped_storage().data_ptr(): name for name, p in model.named_parameters() if p.dim() > 1}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (formula := _formula(func)) is None:
            with self:
                return by_parts(func)(*args, **kwargs)  # type: ignore[misc]
        out = func(*args, **kwargs)
        if macs := formula(*args, **kwargs, out_val=out):
            places = (x.untyped_storage().data_ptr() for x in args if isinstance(x, Tensor))
            names = [self._names[place] for place in places if place in self._names]
            self.macs[next(iter(names), "")] += macs
        return out


def _nothing(*_: Any, **__: Any) -> int:
    return 0


@cache  # a recurrent layer calls the same few operators at every time step
def _formula(func: Any) -> Callable[..., int] | None:
    """What counts the MACs of an operator; None where PyTorch says which simpler ones it consists of."""
    packet = func._overloadpacket
    if packet.__name__ == "mkldnn_rnn_layer":
        return _recurrent_layer
    if packet in flop_registry:
        flops = flop_registry[packet]
        return lambda *args, **kwargs: int(flops(*args, **kwargs)) // 2
    if func.is_view or _FREE_TAGS & set(func.tags) or packet.__name__.removesuffix("_") in _FREE:
        return _nothing
    if by_parts(func):
        return None
    raise BenchError(
        f"cannot count the MACs of operator {packet}: it is neither in PyTorch's table of formulas "
        "(torch.utils.flop_counter.register_flop_formula adds one) nor known to be free, and PyTorch does not say what "
        "it consists of"
    )


def _recurrent_layer(sequence: Tensor, from_input: Tensor, from_hidden: Tensor, *_: Any, **__: Any) -> int:
    """One direction of an LSTM layer, which oneDNN computes by one operator: (T, B, I) through (4H, I) and (4H, H)."""
    return sequence.shape[0] * sequence.shape[1] * (from_input.numel() + from_hidden.numel())


def count_macs(model: nn.Module, example_input: Tensor) -> int:
    """MACs of one pass over ``example_input``: matrix products and convolutions, without biases, norms, activations.

    Recurrent layers are counted step by step, attention with its products of activations. The model is counted in eval
    mode and left in the mode it was in. A ``BenchError`` names an operator whose cost is unknown.
    """
    return sum(count_by_weight(model, example_input).values())


def count_by_weight(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    """What ``count_macs`` counts, by the qualified name of the weight; products of activations are under ""."""
    modes = {module: module.training for module in model.modules()}
    counter = _MacCounter(model)
    try:
        with torch.no_grad(), unfused_attention(), sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False), counter:
            model.eval()(example_input)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return counter.macs


#: live entries of an axis: so many for each channel of a group, and last those of no group, under ""
Extent = dict[str, int]


class ProductCost(NamedTuple):
    """A product costs ``unit`` MACs, or what else is paid for, for every pair of a live input and a live output."""

    weight: str  # name of the parameter; empty for a product of two activations
    unit: float
    inputs: Extent
    outputs: Extent
    block: int = 1  # outputs that are computed at once: a kernel takes as long for one of them as for all

    def at(self, sizes: Mapping[str, Any]) -> Any:
        """What the product costs for these sizes of groups, of which ``""`` has the size 1.

        Between integers, where gradients are wanted, there are no blocks.
        """
        inputs, outputs = (sum(n * sizes[name] for name, n in own.items()) for own in (self.inputs, self.outputs))
        if isinstance(outputs, int):
            outputs = -(-outputs // self.block) * self.block
        return self.unit * inputs * outputs


@dataclass(frozen=True)
class Price:
    """What budgets are shares of: the cost of a model on one axis, as a function of its widths.

    The same terms price all models that are made of one dense model by removing channels.
    """

    axis: CostAxis
    terms: tuple[ProductCost, ...]
    dense: float  # the cost of the dense model, in the unit of the terms
    #: predicted and measured, shares of models that it was told without being fitted to them; MACs are exact
    told: tuple[tuple[float, float], ...] = ()
    dense_ms: float | None = None  # CPU time of the dense model in calm moments, where latency is what is paid for
    measured: Callable[[nn.Module], float] | None = None  # what tells the true share of a model, where terms are fitted

    @property
    def off(self) -> float:
        """The share by which it is wrong, median of the models that it was not fitted to."""
        return median([abs(predicted / measured - 1) for predicted, measured in self.told] or [0.0])

    def share(self, sizes: Mapping[str, Any]) -> Any:
        """The cost for these sizes of all groups, as a share of the dense model's; gradients pass through."""
        return sum(term.at(sizes) for term in self.terms) / self.dense


def product_costs(graph: Graph) -> tuple[ProductCost, ...]:
    """The cost of every product with a weight, and of every product of activations."""
    return tuple(ProductCost(p.weight, p.unit, _extent(graph, p.read), _extent(graph, p.made)) for p in graph.products)


def _extent(graph: Graph, atoms: Labels) -> Extent:
    owners = graph.group_of[atoms]
    repeats = {
        graph.groups[index].name: int(count) // graph.groups[index].size
        for index, count in zip(*np.unique(owners[owners >= 0], return_counts=True), strict=True)
    }
    return {**repeats, "": int((owners < 0).sum())}


HALVINGS = 10  # of the interval in which ``largest_model`` looks

Sizes = dict[str, int]
#: the next channels of a group: what they are worth, its name, how many they are
Unit = tuple[float, str, int]


def smallest_sizes(sizes: Mapping[str, int], multiple: int, least: Mapping[str, int] | None = None) -> Sizes:
    """The width below which no group is taken: 1/32 of it, at least ``least``, rounded up to ``multiple``."""
    floor = {name: max(size / 32, (least or {}).get(name, 1)) for name, size in sizes.items()}
    return {name: min(size, multiple * math.ceil(floor[name] / multiple)) for name, size in sizes.items()}


def largest_model(build: Callable[[float], nn.Module], cost: Callable[[nn.Module], float], budget: float) -> nn.Module:
    """The largest model within a budget of those that a knob makes, whatever the knob is; found by bisection.

    Example:
        ``bench.largest_model(lambda share: thinned(model, share), trainer.cost, self.budget)``

    Args:
        build: the model for a setting in (0, 1); what it costs does not fall when the setting rises.
        cost: of a model.
        budget: of that cost.

    Raises:
        BudgetError: none of those that are tried, down to a setting of 1/1024, costs as little.
    """
    found, low, high, least = None, 0.0, 1.0, math.inf
    for _ in range(HALVINGS):
        setting = (low + high) / 2
        if (spent := cost(model := build(setting))) <= budget:
            found, low = model, setting
        else:
            high, least = setting, min(least, spent)
    if found is None:
        raise BudgetError(f"no setting reaches budget {budget:g}: the smallest model that was made costs {least:.4f}")
    return found


def largest_within(
    scores: Mapping[str, Tensor],
    cost: Callable[[Sizes], float],
    limit: float,
    multiple: int = 1,
    least: Mapping[str, int] | None = None,
) -> Sizes:
    """How many channels of each group to keep, so that the cost is the largest not above ``limit``.

    The best-ranked channels of the whole network are taken for as long as they fit (found by bisection, since the
    cost only grows); then every further channel that still fits is added, in the order of rank.

    Args:
        scores: (size,) of each group, comparable across groups; higher is kept first.
        cost: of a choice of sizes; it never falls when a group grows.
        limit: of this cost.
        multiple: widths are multiples of this, or the whole group.
        least: channels that each group needs; one unless given.

    Raises:
        BudgetError: even the smallest model costs more; the message names its cost.
    """
    full = {name: len(score) for name, score in scores.items()}
    smallest = smallest_sizes(full, multiple, least)
    if cost(smallest) > limit:
        raise BudgetError(
            f"no choice of widths costs at most {limit:.4g} of the dense model: the smallest that can be reached costs "
            f"{cost(smallest):.4f}; ask for a larger budget"
        )
    units = _ranked_units(scores, smallest, multiple)
    counts = range(1, len(units) + 1)
    taken = bisect_right(counts, limit, key=lambda count: cost(_grown(smallest, units[:count])))
    return _filled(_grown(smallest, units[:taken]), units[taken:], cost, limit)


def _filled(sizes: Sizes, units: list[Unit], cost: Callable[[Sizes], float], limit: float) -> Sizes:
    """These sizes and all further units that fit, best first."""
    full_groups: set[str] = set()
    for _, group, amount in units:  # behind a unit that does not fit none of its group fits
        if group not in full_groups and cost(grown := {**sizes, group: sizes[group] + amount}) <= limit:
            sizes = grown
        else:
            full_groups.add(group)
    return sizes


def _ranked_units(scores: Mapping[str, Tensor], smallest: Sizes, multiple: int) -> list[Unit]:
    units = []
    for name, score in scores.items():
        ranked = torch.sort(score.detach().double(), descending=True).values[smallest[name] :]
        units += [(float(part.mean()), name, len(part)) for part in torch.split(ranked, multiple)]
    return sorted(units, key=lambda unit: -unit[0])


def _grown(sizes: Sizes, units: list[Unit]) -> Sizes:
    grown = dict(sizes)
    for _, group, amount in units:
        grown[group] += amount
    return grown
