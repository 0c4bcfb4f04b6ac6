"""What methods and tasks import from ``bench``."""

import subprocess
import sys

import pytest

import bench


def test_every_name_loads_from_the_module_that_defines_it() -> None:
    assert {"Method", "Task", "Trainer", "Widths", "tune", "cached_folder", "BenchError"} <= bench._homes().keys()
    for name, home in bench._homes().items():
        assert getattr(bench, name) is vars(sys.modules[home])[name]


def test_a_name_that_is_not_exported_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'Trainr'"):
        bench.Trainr  # noqa: B018


def test_a_name_loads_no_more_than_it_needs() -> None:
    code = "import sys; from bench import cached_folder, equal_error_rate, Plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
