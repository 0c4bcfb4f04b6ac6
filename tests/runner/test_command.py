"""A run that is stopped ends, whatever it was doing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import BenchError
from bench.runner.command import checked
from bench.runner.request import Request

#: a module that a second thread imports, too, and waits for
SHARED = """
import threading, time
other = threading.Thread(target=__import__, args=[__name__], daemon=True)
other.start()
time.sleep(0.2)
"""
#: sends SIGTERM where the import has ended and its lock is not yet released
INTERRUPTED = """
import signal, sys, time
from bench.runner.command import Stopped, stopping_on_signals

def interrupt(frame, event, argument):
    code, done = frame.f_code, "shared_by_threads" in sys.modules
    if event == "call" and done and code.co_name == "__exit__" and "importlib._bootstrap" in code.co_filename:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGTERM)

try:
    with stopping_on_signals():
        sys.setprofile(interrupt)
        __import__("shared_by_threads")
        time.sleep(10)  # ends as soon as the signal is heeded
except Stopped as stopped:
    assert "SIGTERM" in str(stopped) and stopped.exit_code == 143
    other = sys.modules["shared_by_threads"].other
    other.join(10)
    print("still waits" if other.is_alive() else "all have ended")
"""


def test_a_signal_during_an_import_leaves_no_lock_behind(tmp_path: Path) -> None:
    """In a process of its own, since libraries with threads do not bear a profiler and a signal at once."""
    (tmp_path / "shared_by_threads.py").write_text(SHARED)
    command = [sys.executable, "-c", INTERRUPTED]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "all have ended"


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
