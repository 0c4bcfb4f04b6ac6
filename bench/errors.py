"""Errors that are shown as a message, without a traceback, and the likely name behind a mistyped one."""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake that the user can correct: the message names the value, the place, what was expected, what to do."""


class MethodError(BenchError):
    """A compression method broke the contract: it overspent steps, missed what it promised, returned no model."""


class BudgetError(MethodError):
    """No choice of widths reaches the budget; the message names the smallest one that can be reached."""


class Declined(MethodError):
    """A method does not apply to this model or task. The message says why; it is not counted as a failure."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'smoke'?)`` when a known name is similar, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
