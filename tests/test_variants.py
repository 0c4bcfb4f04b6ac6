"""What the screen shows of a trial that was not run to its end."""

import pytest
from rich.console import Console

from bench.plugins.task import Metric
from bench.runner.progress import Screen
from bench.trial.record import TrialRecord


def test_a_method_that_does_not_apply_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(Console(width=200), Metric("eer", unit="percent", direction="minimize")) as screen:
        screen.expect(1)
        screen.trial_finished("feature_noise at 0.25", TrialRecord("declined", "no width is free"))
    assert "does not apply  feature_noise at 0.25: no width is free" in capsys.readouterr().out
