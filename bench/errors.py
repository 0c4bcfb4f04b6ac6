"""Errors that are shown as a message, without a traceback, and the likely name behind a mistyped one."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST = 600  # signs of a message


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


def one_line(text: str) -> str:
    """A text of whatever origin as one line, without control characters, its middle left out if it is very long.

    >>> one_line("a\\nb\\x1b[2J")
    'a b?[2J'
    """
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def said(error: BaseException) -> str:
    """What an exception says, in one line: a message of the engine as it is, any other behind the name of its type."""
    try:
        text = one_line(str(error))
    except Exception:  # of the exception's own code
        text = "it cannot be written down"
    kind = "" if isinstance(error, BenchError) else type(error).__name__
    return ": ".join(filter(None, (kind, text)))


@contextmanager
def blaming(who: str) -> Iterator[None]:
    """Turn what the code of a plugin raises, ``sys.exit`` included, into a ``BenchError`` that names it.

    A ``BenchError`` of its own, and an ``OSError`` such as a full disk, stay what they are.
    """
    try:
        yield
    except (BenchError, OSError):
        raise
    except (Exception, SystemExit) as error:
        raise BenchError(f"{who}: {said(error)}") from error
