"""How often something may be done that costs more the more there is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Keeps what is done again and again to a share of the time.

    Attributes:
        pause_s: seconds between two times, at least.
        share: of the time, at most, that is spent on it.
    """

    pause_s: float = 0.0
    share: float = 0.05
    _next: float = field(init=False)  # on the monotonic clock

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.pause_s

    @property
    def due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._next

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around what is done: sets when it may be done again."""
        started = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._next = ended + max(self.pause_s, (ended - started) * (1 / self.share - 1))
