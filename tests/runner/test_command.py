"""A run that is stopped ends, whatever it was doing."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench import BenchError
from bench.runner.command import Stopped, checked, stopping_on_signals
from bench.runner.request import Request

#: a module that a second thread imports, too, and waits for
SHARED = """
import threading, time
other = threading.Thread(target=__import__, args=[__name__], daemon=True)
other.start()
time.sleep(0.2)
"""


def test_a_signal_during_an_import_leaves_no_lock_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared_by_threads.py").write_text(SHARED)
    monkeypatch.syspath_prepend(tmp_path)

    def interrupt(frame: FrameType, event: str, argument: Any) -> None:
        """Send SIGTERM where the import has ended and its lock is not yet released."""
        code, done = frame.f_code, "shared_by_threads" in sys.modules
        if event == "call" and done and code.co_name == "__exit__" and "importlib._bootstrap" in code.co_filename:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM") as stopped, stopping_on_signals():
        sys.setprofile(interrupt)
        __import__("shared_by_threads")
        time.sleep(10)  # ends as soon as the signal is heeded
    assert stopped.value.exit_code == 143
    other = sys.modules["shared_by_threads"].other
    other.join(10)
    assert not other.is_alive()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"runtime": "openvin"}, r"no runtime is called 'openvin' \(did you mean 'openvino'\?\); there are: onnx"),
        ({"threads": 4096}, r"--threads 4096: this process has \d+ cores?; give no more"),
    ],
)
def test_a_runtime_that_cannot_be_used_is_refused(tmp_path: Path, option: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        checked(Request("synthetic", "smoke", ("dense",), tmp_path, 1, **option))
