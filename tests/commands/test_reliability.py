"""Signals, kills, full disks, damaged files: nothing that is finished is lost, and every end is a clean one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from bench import BenchError
from bench.runner.command import checked
from bench.runner.request import Request
from bench.trial.record import TrialFolder
from tests.chaos import chaos, points, warm_up
from tests.conftest import HEEDING_INTERRUPTS, Finished, SmokeRun

Bench = Callable[..., Finished]

ARGUMENTS = ("run", "synthetic", "--preset", "smoke", "--jobs", "2", "--methods", "uniform_width")
FOLDER = Path("synthetic", "smoke")


# --- a whole comparison


@pytest.fixture(scope="module")
def comparison(synthetic_smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of our own, which tests may damage."""
    return Path(shutil.copytree(synthetic_smoke.results, tmp_path_factory.mktemp("copy") / "results"))


@contextmanager
def started(results: Path, trial: Path) -> Iterator[subprocess.Popen[str]]:
    """The same comparison under way in another folder, with a process that trains this trial."""
    shutil.rmtree(trial)
    command = [sys.executable, "-c", HEEDING_INTERRUPTS, *ARGUMENTS, "--results", str(results)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        deadline = time.monotonic() + 300
        while not trial.exists():
            assert run.poll() is None and time.monotonic() < deadline, run.communicate()[0]
            time.sleep(0.02)
        try:
            yield run
        finally:
            with suppress(ProcessLookupError):
                run.kill()


def test_however_it_ends_no_process_is_left_and_the_same_command_goes_on(
    comparison: Path, tmp_path: Path, bench_here: Bench
) -> None:
    """A trial that has finished is kept, one whose record is torn is trained again; a kill leaves nothing to mend."""
    results = tmp_path / "results"
    warm_up(results, comparison)
    shutil.copytree(comparison / FOLDER / "trials", results / FOLDER / "trials")
    kept, torn = (TrialFolder(path) for path in sorted((results / FOLDER / "trials").iterdir()))
    written, record = kept.record_path.stat().st_mtime_ns, torn.record_path.read_text()
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        with started(results, torn.path) as run:
            below = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(number)
            run.send_signal(number)  # an impatient second one changes nothing
            said, _ = run.communicate(timeout=60)
        assert run.returncode == code
        assert said.count("the same command goes on from there") == (code > 0) and "Traceback" not in said
        assert not psutil.wait_procs(below, timeout=5)[1]
        assert torn.record() is None
    torn.record_path.write_text(record[:100])
    same_again(bench_here, results, points(comparison))
    assert kept.record_path.stat().st_mtime_ns == written


def test_ctrl_c_while_data_is_made_is_one_line(tmp_path: Path) -> None:
    """A terminal sends it to all processes at once, those that write the corpus too."""
    arguments = ["run", "antispoof", "--preset", "quick", "--methods", "dense", "--results", str(tmp_path)]
    command = [sys.executable, "-c", HEEDING_INTERRUPTS, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        while not next(tmp_path.rglob("*.flac"), None):
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command goes on from there" in said and "Traceback" not in said


def test_processes_that_make_data_leave_ctrl_c_to_the_supervisor() -> None:
    script = "from tasks._workers import in_processes; from tests.jobs import is_deaf_to_interrupts\n"
    script += "list(in_processes(is_deaf_to_interrupts, [1, 2], 2))"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_process_that_makes_data_and_is_killed_is_told() -> None:
    """Nothing waits for ever for what it was about to make."""
    script = "from tasks._workers import in_processes; from tests.jobs import is_killed\n"
    script += "list(in_processes(is_killed, [1, 2, 3], 2))"
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=120, capture_output=True, text=True)
    assert "BenchError: a process that made data was ended from outside" in done.stderr


def test_damage_is_noticed_and_made_good(comparison: Path, bench_here: Bench) -> None:
    """Of every kind of file that a comparison leaves: cut short, or overwritten."""
    expected = points(comparison)
    trials = sorted((comparison / FOLDER / "trials").iterdir())
    (journal,) = comparison.glob(f"{FOLDER}/studies/*.journal")
    trained = trials[1].joinpath("trial.json").stat().st_mtime_ns
    measured = [trials[1] / name for name in ("eval.json", "eval_items.npz", "latency.json")]
    for path in (*measured, journal):  # of a trial that is not trained again: that would make them anew in any case
        content = path.read_bytes()
        path.write_bytes(content[:20] + b"\0" * 20 + content[40:])
    for path in (trials[0] / "model.onnx", comparison / FOLDER / "comparison.json"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    same_again(bench_here, comparison, expected)
    folder = TrialFolder(trials[1])
    assert folder.eval_was_read("mse_percent") and folder.item_scores() and folder.latencies()
    assert folder.record_path.stat().st_mtime_ns == trained


def same_again(bench_here: Bench, results: Path, expected: pd.DataFrame) -> None:
    """Run the comparison again, and find the same points."""
    again = bench_here(*ARGUMENTS, "--results", results)
    assert again.code == 0 and "Traceback" not in again.output, again.output
    pd.testing.assert_frame_equal(points(results), expected)


@pytest.mark.slow
def test_chaos_changes_nothing(tmp_path: Path) -> None:
    tally = chaos(tmp_path, kills=6, seconds=60, seed=0, methods="uniform_width")
    assert tally.passed, tally
    assert tally.all_kills, tally  # how many it takes until the comparison has ended depends on the machine


# --- disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory; skips where none may be mounted."""
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("no file system can be mounted here: that takes root, in a container with CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def run_on(results: Path) -> Finished:
    """The comparison on a small disk, which the check for half a gigabyte would refuse."""
    script = "import bench.runner.command; bench.runner.command.ENOUGH_BYTES = 0\nfrom bench.cli import main; main()"
    command = [sys.executable, "-c", script, *ARGUMENTS, "--results", str(results)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return Finished(run.returncode, run.stdout + run.stderr)


def test_a_disk_that_fills_up_stops_the_run_and_corrupts_nothing(
    comparison: Path, tmp_path: Path, bench_here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        full = disk / "ballast"
        full.write_bytes(b"\0" * (2**21 - 60_000))
        stopped = run_on(disk)
        assert stopped.code == 2 and "Traceback" not in stopped.output, stopped.output
        assert "No space left on device" in stopped.output
        for path in disk.rglob("*.json"):
            json.loads(path.read_text())
        full.unlink()
        monkeypatch.setattr("bench.runner.command.ENOUGH_BYTES", 0)
        same_again(bench_here, disk, points(comparison))


def test_a_folder_that_is_read_only_is_said_before_the_work(tmp_path: Path) -> None:
    refused = pytest.raises(BenchError, match="Read-only file system; choose another with --results")
    with mounted(tmp_path / "disk", "size=1m,ro") as disk, refused:
        checked(Request("synthetic", "smoke", ("dense",), disk, 1))
