"""Budgets that no choice of widths reaches are refused, and what can be reached is found once."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from bench import BenchError
from bench.plugins.registry import load_method_spec
from bench.runner.reach import check_reach
from bench.trial.setting import Setting
from tests.jobs import Here


def test_what_can_be_reached_is_found_once_by_a_job(tmp_path: Path) -> None:
    setting, screen = Setting("synthetic", "smoke", cache=str(tmp_path)), Mock()
    budgeted, other = load_method_spec("uniform_width"), load_method_spec("quantization")
    check_reach(setting, [other], [1e-6], Here(1, screen))  # asks for no budget
    assert not screen.job_ended.called
    check_reach(setting, [other, budgeted], [0.5, 0.25], Here(1, screen))
    assert [call.args[0].key for call in screen.job_ended.call_args_list] == ["reach"]
    with pytest.raises(
        BenchError, match=r"budget 1e-06, 1e-07: no choice of widths .* has 0\.\d+ of the dense compute"
    ):
        check_reach(setting, [budgeted], [0.5, 1e-6, 1e-7], Here(1, screen))
    assert screen.job_ended.call_count == 1
