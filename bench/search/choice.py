"""Which trials are read on eval: chosen on dev, for every budget one."""

from collections.abc import Mapping, Sequence


def frozen_choices(
    asked: Mapping[int, float | None], errors: Mapping[int, float | None], budgets: Sequence[float]
) -> list[int]:
    """The trials of one method that are read on eval: for every budget the best on dev.

    A budget's candidates are the trials that asked for at most this compute and for more than the next smaller
    budget; above the largest budget there is one more such class. A method that takes no budget has one class.

    Args:
        asked: compute that each trial asked for, by trial number.
        errors: dev error of each trial, smaller is better; infinite for one that missed its budget and None for a
            failed one, which are chosen only if there is no other.
        budgets: the budgets of the comparison.
    """
    edges = sorted({*budgets, 1.0})
    classes: dict[float, list[int]] = {}
    for number, compute in asked.items():
        edge = 1.0 if compute is None else next(e for e in edges if compute <= e * (1 + 1e-9))
        classes.setdefault(edge, []).append(number)

    def rank(number: int) -> tuple[bool, float, int]:
        error = errors[number]
        return (error is None, error or 0.0, number)

    return sorted(min(numbers, key=rank) for numbers in classes.values())
