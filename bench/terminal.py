"""Where everything is printed that is more than a line."""

from rich.console import Console

WIDTH = 132  # of the output where there is no terminal


def terminal() -> Console:
    """A console that shows names and reasons as they are: what looks like rich's markup in them is none."""
    console = Console(markup=False, emoji=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, highlight=False, width=WIDTH)
