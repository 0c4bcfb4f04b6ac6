"""Which budget a model is a candidate for, and which candidates are read on eval: one rule for all who ask."""

import math
from collections.abc import Mapping, Sequence

#: budgets are compared with this relative tolerance, as 1 - 0.75 is not exactly 0.25
ROUNDING = 1e-9


def budget_class(asked: float | None, budgets: Sequence[float]) -> float | None:
    """The budget that a model is a candidate for.

    Args:
        asked: share of the dense compute that the trial asked for; None or NaN if its method takes no budget.
        budgets: of the comparison that the trial belongs to.

    Returns:
        The smallest budget that is not below what was asked, 1 above the largest; None without a budget.

    >>> budget_class(0.2, [0.5, 0.25]), budget_class(0.7, [0.5, 0.25]), budget_class(None, [0.5])
    (0.25, 1.0, None)
    """
    if asked is None or math.isnan(asked):
        return None
    return next(edge for edge in sorted({*budgets, 1.0}) if asked <= edge * (1 + ROUNDING))


def frozen_choices(
    asked: Mapping[int, float | None], errors: Mapping[int, float | None], budgets: Sequence[float]
) -> list[int]:
    """The trials of one method that are read on eval: the best on dev in every budget class.

    Args:
        asked: compute that each trial asked for, by trial number.
        errors: dev error of each trial, smaller is better; infinite for one that missed its budget and None for a
            failed one, which are chosen only if there is no other.
        budgets: the budgets of the comparison.
    """
    classes: dict[float | None, list[int]] = {}
    for number, compute in asked.items():
        classes.setdefault(budget_class(compute, budgets), []).append(number)

    def rank(number: int) -> tuple[bool, float, int]:
        error = errors[number]
        return (error is None, error or 0.0, number)

    return sorted(min(numbers, key=rank) for numbers in classes.values())
