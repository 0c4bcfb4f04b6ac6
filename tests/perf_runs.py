"""What whole runs cost: `make perf` prints these ratios behind those of single steps. Minutes; it is no test.

``python -m tests.perf_runs --preset quick`` does the same at the size that users run first, for over an hour.
"""

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.execution.executor import Job
from bench.execution.local import LocalExecutor
from bench.trial.compress import train
from bench.trial.record import TrialFolder
from bench.trial.setting import Setting, TrialSpec
from bench.trial.verify import audit
from tests.jobs import Silent

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h: processes whose parent has ended become ours, and so do their CPU times
TASK = "antispoof"
TRIALS = 8  # of what is measured over several


def adopt() -> None:
    """Become the parent of every process below whose own parent has ended, so that its CPU time is counted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def cpu_s(*commands: Sequence[str]) -> float:
    """CPU seconds of these commands of Python with all their processes; two of them at a time."""
    before = sum(os.times()[2:4])

    def run(command: Sequence[str]) -> None:
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(2) as two:
        list(track(two.map(run, commands), f"{len(commands)} runs", len(commands), transient=True))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return sum(os.times()[2:4]) - before


def bench(preset: str, results: Path, *options: str) -> list[str]:
    """A command of Python: `bench run`."""
    return ["-m", "bench", "run", TASK, "--preset", preset, "--results", str(results), *options]


def alone(preset: str, folder: Path, points: pd.DataFrame) -> list[list[str]]:
    """A run for every point, which makes its data, trains its dense model and measures for itself."""
    commands = []
    for number, point in enumerate(points.to_dict("records")):
        budget = () if pd.isna(point["budget"]) else ("--budgets", str(point["budget"]))
        commands.append(
            bench(preset, folder / str(number), "--methods", point["method"], *budget, "--trials", "1", "--jobs", "1")
        )
    return commands


def trials(results: Path, preset: str, workers: int, count: int) -> float:
    """Train and audit the dense model with so many seeds; wall-clock seconds once one was done."""
    setting = Setting(TASK, preset, cache=str(results / "cache"))
    runner, folder = LocalExecutor(workers, Silent(), [f"tasks.{TASK}"]), results / f"trials-{workers}-{count}"
    started = 0.0
    for seed in range(count):
        spec, key = TrialSpec(setting, "dense", {}, seed), f"{seed}"
        runner.submit(Job(f"train {key}", "", train, (spec, TrialFolder(folder / key))))
        runner.submit(Job(key, "", audit, (spec, TrialFolder(folder / key)), frozenset({f"train {key}"})))
        if seed == 0:
            while not runner.idle:
                runner.next_finished()
            started = time.monotonic()
    while not runner.idle:
        runner.next_finished()
    runner.close()
    return time.monotonic() - started


def trial_cpu_s(results: Path, preset: str) -> tuple[float, float]:
    """CPU seconds of a trial beyond training and scoring, with the start of its processes; of the first start."""
    script = "import sys, pathlib; from tests.perf_runs import trials; "
    script += f"trials(pathlib.Path(sys.argv[1]), {preset!r}, 1, int(sys.argv[2]))"
    few, many = (cpu_s(["-c", script, str(results), str(count)]) for count in (1, 1 + TRIALS))
    records = [json.loads(path.read_text()) for path in results.glob(f"trials-1-{1 + TRIALS}/*/trial.json")]
    work = statistics.mean(record["train_cpu_s"] + record["evaluation_cpu_s"] for record in records)
    each = (many - few) / TRIALS
    return each - work, few - each


def peak_memory_mb(results: Path) -> float:
    """The largest memory of a trial."""
    return max(json.loads(p.read_text()).get("peak_memory_mb", 0.0) for p in results.glob("*/*/trials/*/trial.json"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="smoke")
    preset = parser.parse_args().preset
    adopt()
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "ours"
        command = bench(preset, ours, "--jobs", "2")
        once, again = cpu_s(command), cpu_s(command)
        points = pd.read_csv(ours / TASK / preset / "points.csv").query("chosen and status != 'declined'")
        single = cpu_s(*alone(preset, Path(folder) / "alone", points))
        shutil.rmtree(Path(folder) / "alone")
        beyond, start = trial_cpu_s(ours, preset)
        speedup = trials(ours, preset, 1, 1 + TRIALS) / trials(ours, preset, 2, 1 + TRIALS)
        rows = [
            (f"CPU of each of {len(points)} points alone / of one run of all", f"{single / once:.1f}", ">= 5"),
            ("the same run again, CPU s with start-up and report", f"{again:.1f}", "<= 10"),
            ("CPU s of a trial beyond training and scoring, its processes included", f"{beyond:.2f}", "<= 2.5"),
            ("CPU s of the first start, imports included", f"{start:.1f}", ""),
            ("largest memory of a trial, MB", f"{peak_memory_mb(ours):.0f}", "<= 1200"),
            ("trials one by one / two at a time, wall clock", f"{speedup:.2f}", ">= 1.8"),
        ]
    table = Table("what", "measured", "aim", title=f"whole runs of {TASK} {preset}")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
