"""What a run says where there is no terminal, by a clock that the tests turn."""

import io

import pytest
from rich.console import Console

from bench.execution.executor import Job
from bench.plugins.task import Metric
from bench.runner.progress import Screen
from bench.trial.record import TrialRecord


class Shown:
    """A screen that writes to a file, and the time."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.now_s = 1000.0
        self.file = io.StringIO()
        console = Console(file=self.file, width=132, force_terminal=terminal)
        self.screen = Screen(console, Metric("eer", unit="percent", direction="minimize"), clock=lambda: self.now_s)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def preparing(*reports: tuple[float, float, str]) -> list[str]:
    """What is said of data that is made: at these seconds these shares were done of what a note names."""
    shown = Shown()
    for at_s, share, note in reports:
        shown.now_s = 1000 + at_s
        shown.screen.preparing(share, note)
    return shown.lines()


def test_making_data_says_every_ten_seconds_how_far_it_is() -> None:
    note = "generating the embedded corpus"
    assert preparing(*((second, second / 60, note) for second in range(31))) == [
        f"{note} …",
        f"{note}: 17 %, about 50 s left",
        f"{note}: 33 %, about 40 s left",
        f"{note}: 50 %, about 30 s left",
    ]


def test_the_line_names_what_is_done_by_then_and_its_estimate_grows_with_the_time() -> None:
    note = "mixing speech and noise"
    said = preparing((0, 0.0, "generating the embedded corpus"), (60, 0.42, note), (6060, 0.43, note))
    assert said[1:] == [f"{note}: 42 %, about 1 min left", f"{note}: 43 %, about 2.2 h left"]


def test_what_was_there_before_counts_for_no_speed() -> None:
    """Half of the data lies in the cache: the other half is no quicker for that."""
    note = "computing features"
    assert preparing((0, 0.5, note), (10, 0.5, note), (300, 0.75, note))[1:] == [
        f"{note}: 50 %",
        f"{note}: 75 %, about 5 min left",
    ]


def test_no_time_is_foretold_from_next_to_nothing() -> None:
    """Processes have just been started, and one file is there."""
    shown = Shown()
    shown.screen.preparing(0.0, "generating the embedded corpus")
    for fraction in (0.001, 0.2):
        shown.now_s += 10
        shown.screen.preparing(fraction, "generating the embedded corpus")
    assert shown.lines()[1:] == [
        "generating the embedded corpus: 0 %",
        "generating the embedded corpus: 20 %, about 1 min left",
    ]


def test_data_that_is_done_is_not_spoken_of() -> None:
    shown = Shown()
    shown.screen.preparing(0.5, "computing features")
    shown.now_s += 20
    shown.screen.preparing(1.0, "computing features")
    shown.screen.prepared()
    assert shown.lines() == ["computing features …"]


def test_a_phase_says_every_ten_seconds_how_far_it_is() -> None:
    shown = Shown()
    shown.screen.phase("reading eval", 40)
    for _ in range(40):
        shown.now_s += 6
        shown.screen.advance()
    assert shown.lines()[:3] == [
        "reading eval …",
        "reading eval: 5 %, about 4 min left",
        "reading eval: 10 %, about 4 min left",
    ]


def test_what_is_done_once_more_has_a_speed_of_its_own() -> None:
    """Models whose timing was disturbed are timed again: ten minutes for all of them say little about these few."""
    shown = Shown()
    for at_s, share in ((0, 0.0), (600, 0.98), (605, 0.0), (725, 0.5)):
        shown.now_s = 1000 + at_s
        shown.screen.job_progress(Job("key", "latency", print, ()), share, "")
    assert shown.lines() == ["latency: 98 %, about 10 s left", "latency: 50 %, about 2 min left"]


def test_a_job_speaks_only_after_a_minute_of_silence() -> None:
    shown = Shown()
    job = Job("key", "dense", print, ())
    for second in range(0, 300, 5):
        if second == 100:
            shown.screen.say("something else")
        shown.screen.job_progress(job, second / 600, "")
        shown.now_s += 5
    assert shown.lines() == [
        "dense: 10 %, about 9 min left",
        "something else",
        "dense: 27 %, about 7 min left",
        "dense: 37 %, about 6 min left",
        "dense: 47 %, about 5 min left",
    ]


def test_a_terminal_has_its_bars_instead() -> None:
    shown = Shown(terminal=True)
    for second in range(100):
        shown.screen.preparing(second / 100, "generating the embedded corpus")
        shown.now_s += 5
    assert shown.lines() == []


def test_a_method_that_does_not_apply_is_shown_as_such() -> None:
    shown = Shown()
    shown.screen.expect(1)
    shown.screen.trial_finished("feature_noise at 0.25", TrialRecord("declined", "no width is free"))
    assert shown.lines() == ["does not apply  feature_noise at 0.25: no width is free"]


@pytest.mark.parametrize("terminal", [False, True])
def test_names_reasons_and_notes_may_look_like_markup(terminal: bool) -> None:
    shown, odd = Shown(terminal=terminal), "[/bold] [red]x :smile:"
    job = Job("a", odd, print, ())
    with shown.screen as screen:
        screen.preparing(0.5, odd)
        screen.prepared()
        screen.job_progress(job, 0.1, odd)
        shown.now_s += 100
        screen.job_progress(job, 0.5, odd)
        screen.say(odd, "yellow")
        for status in ("failed", "declined"):
            screen.trial_finished(odd, TrialRecord(status, odd))
        scored = {"dev": {"eer_percent": 3.0}, "effective_macs": 1, "dense_macs": 2, "cpu_s": 1.0}
        screen.trial_finished(odd, TrialRecord("missed", odd, **scored))
    said = shown.file.getvalue()
    assert said.count(odd) >= 8 and "dev EER" in said
