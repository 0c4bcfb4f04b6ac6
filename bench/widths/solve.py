"""The largest model within a budget, for those who can rank channels."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from bench.errors import BudgetError

Sizes = dict[str, int]


class Unit(NamedTuple):
    """The next ``amount`` channels of a group, worth ``score``."""

    score: float
    group: str
    amount: int


def smallest_sizes(sizes: Mapping[str, int], multiple: int, least: Mapping[str, int] | None = None) -> Sizes:
    """The width below which no group is taken: 1/32 of it, at least ``least``, rounded up to ``multiple``."""
    floor = {name: max(size / 32, (least or {}).get(name, 1)) for name, size in sizes.items()}
    return {name: min(size, multiple * math.ceil(floor[name] / multiple)) for name, size in sizes.items()}


def largest_within(
    scores: Mapping[str, Tensor],
    macs: Callable[[Sizes], int],
    limit: float,
    multiple: int = 1,
    least: Mapping[str, int] | None = None,
) -> Sizes:
    """How many channels of each group to keep, so that the cost is the largest not above ``limit``.

    The best-ranked channels of the whole network are taken for as long as they fit (found by bisection, since the
    cost only grows); then every further channel that still fits is added, in the order of rank.

    Args:
        scores: (size,) of each group, comparable across groups; higher is kept first.
        macs: cost of a choice of sizes.
        limit: the MACs that the model may have.
        multiple: widths are multiples of this, or the whole group.
        least: channels that each group needs; one unless given.

    Raises:
        BudgetError: even the smallest model costs more; the message names its cost.
    """
    full = {name: len(score) for name, score in scores.items()}
    smallest = smallest_sizes(full, multiple, least)
    if macs(smallest) > limit:
        raise BudgetError(
            f"no choice of widths costs at most {limit:,.0f} MACs: the smallest reachable model has "
            f"{macs(smallest):,} ({macs(smallest) / macs(full):.4f} of the dense one); ask for a larger budget"
        )
    units = _ranked_units(scores, smallest, multiple)
    taken = _longest_prefix(units, smallest, macs, limit)
    sizes = _with_units(smallest, units[:taken])
    blocked: set[str] = set()
    for unit in units[taken:]:  # a group's units come in order: what is behind one that does not fit does not fit
        if unit.group not in blocked:
            grown = sizes | {unit.group: sizes[unit.group] + unit.amount}
            if macs(grown) <= limit:
                sizes = grown
            else:
                blocked.add(unit.group)
    return sizes


def _ranked_units(scores: Mapping[str, Tensor], smallest: Sizes, multiple: int) -> list[Unit]:
    units = []
    for name, score in scores.items():
        ranked = torch.sort(score.detach().double(), descending=True).values[smallest[name] :]
        units += [Unit(float(part.mean()), name, len(part)) for part in torch.split(ranked, multiple)]
    return sorted(units, key=lambda unit: -unit.score)


def _with_units(sizes: Sizes, units: list[Unit]) -> Sizes:
    grown = dict(sizes)
    for unit in units:
        grown[unit.group] += unit.amount
    return grown


def _longest_prefix(units: list[Unit], smallest: Sizes, macs: Callable[[Sizes], int], limit: float) -> int:
    low, high = 0, len(units)
    while low < high:
        middle = (low + high + 1) // 2
        if macs(_with_units(smallest, units[:middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
