"""A rule holds, or says why not; somebody else's code is ended when it hangs, and named by the line of its own file."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from bench.errors import BenchError, said

GRACE_S = 10.0  # after which what catches the end of its time, or never returns to Python, is ended with the process


class ContractError(BenchError):
    """A plugin breaks the contract; the message names the rule."""


class _Hangs(BaseException):
    """Raised in the middle of whatever hangs, which is not to catch it; it says where."""


class _Interrupted(BaseException):
    """Ctrl-C, told apart from a plugin that raises ``KeyboardInterrupt``."""


def require(holds: bool, rule: str) -> None:
    """Raise ``ContractError`` with the rule unless it holds."""
    if not holds:
        raise ContractError(f"breaks the contract: {rule}")


def each_within(limit_s: float, name: str, files: Collection[str], lines: Iterator[str]) -> Iterator[str]:
    """The lines of a check, each made within a time.

    Args:
        limit_s: for each line. What takes longer is ended, with this process if nothing else ends it.
        name: of the plugin, for messages.
        files: its own, whose lines are named.
        lines: of the check.

    Raises:
        ContractError: the plugin hangs, or raises anything, ``sys.exit`` included.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    while True:
        try:
            with _limited(limit_s, name, files):
                line = next(lines, None)
        except (BenchError, OSError):
            raise
        except _Hangs as error:
            raise ContractError(str(error)) from None
        except _Interrupted:
            raise KeyboardInterrupt from None
        except BaseException as error:
            place = _place(traceback.extract_tb(error.__traceback__), files)
            raise ContractError(f"{name} fails: {said(error)}; {place}") from error
        if line is None:
            return
        yield line


@contextmanager
def _limited(limit_s: float, name: str, files: Collection[str]) -> Iterator[None]:
    """Raise ``_Hangs`` in what takes longer than this, again every second: its code may catch everything.

    Ctrl-C raises ``_Interrupted`` meanwhile.
    """
    main = threading.get_ident()

    def message(frame: FrameType | None) -> str:
        return f"{name} hangs: no end after {limit_s:g} s, {_place(traceback.extract_stack(frame), files)}"

    def end(number: int, frame: FrameType | None) -> None:
        raise _Hangs(message(frame))

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted

    def abandon() -> None:
        print(f"error: {message(sys._current_frames().get(main))}", file=sys.stderr, flush=True)
        os._exit(2)

    before = {signal.SIGALRM: signal.signal(signal.SIGALRM, end)}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is for what a shell has put in the background
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
    last = threading.Timer(limit_s + GRACE_S, abandon)
    last.daemon = True
    last.start()
    try:
        yield
    finally:
        last.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _place(stack: traceback.StackSummary, files: Collection[str]) -> str:
    """The innermost line of the plugin's own files; ours are nobody's business."""
    own = [frame for frame in stack if frame.filename in files]
    if not own:
        return "not in a line of its own file"
    return f"in {own[-1].name}(), {own[-1].filename}, line {own[-1].lineno}: {own[-1].line}"
