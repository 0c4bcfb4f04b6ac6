"""What is done again and again takes its share of the time, and no more."""

from typing import Any

import pytest

from bench.runner.progress import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    monkeypatch.setattr("bench.runner.progress.time", clock)
    return clock


def test_what_takes_a_second_is_done_every_twenty(clock: Clock) -> None:
    pace = Pace(share=0.05)
    assert pace.due
    with pace.kept():
        assert pace.due
        clock.now += 1.0
    clock.now += 18.9
    assert not pace.due
    clock.now += 0.2
    assert pace.due


def test_what_takes_no_time_waits_for_its_pause_and_so_does_the_first(clock: Clock) -> None:
    pace = Pace(pause_s=20.0)
    assert not pace.due
    clock.now += 20.0
    assert pace.due
    with pytest.raises(KeyError), pace.kept():
        raise KeyError
    assert not pace.due
    clock.now += 20.0
    assert pace.due
