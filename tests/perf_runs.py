"""What whole runs cost: `make perf` prints these ratios behind those of single steps. Minutes; it is no test."""

import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.executor import Job
from bench.jobs import train
from bench.local_executor import LocalExecutor
from bench.trial import Setting, TrialSpec

PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h: processes whose parent has ended become ours, and so do their CPU times
TASK = ("antispoof", "smoke")
METHODS = ("uniform_width", "magnitude_pruning", "random_pruning", "feature_noise")
BUDGETS = ("0.25", "0.0625")
TRIALS = 8  # of the comparison of one process with two


class Silent:
    """Shows nothing."""

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        pass

    def job_ended(self, job: Job) -> None:
        pass


def cpu_s(results: Path, *options: str) -> float:
    """CPU seconds of `bench run` with all its processes."""
    before = sum(os.times()[2:4])
    command = [sys.executable, "-m", "bench", "run", TASK[0], "--preset", TASK[1], "--results", str(results), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return sum(os.times()[2:4]) - before


def sharing(folder: Path) -> tuple[float, float]:
    """CPU of every point alone, from its data to its latency, over that of one run of all; and that run's repeat."""
    ours = cpu_s(folder / "ours", "--methods", ",".join(METHODS), "--budgets", ",".join(BUDGETS), "--jobs", "2")
    again = cpu_s(folder / "ours", "--methods", ",".join(METHODS), "--budgets", ",".join(BUDGETS), "--jobs", "2")
    alone = 0.0
    for method in METHODS:
        for budget in BUDGETS:
            alone += cpu_s(folder / "alone", "--methods", method, "--budgets", budget, "--jobs", "1")
            shutil.rmtree(folder / "alone")
    return alone / ours, again


def overheads(results: Path) -> tuple[float, float]:
    """CPU seconds of a trial beyond training and scoring, and the largest memory of one in MB."""
    records = [json.loads(path.read_text()) for path in results.glob("antispoof/smoke/trials/*/trial.json")]
    beyond = [record["cpu_s"] - record["train_cpu_s"] - record["evaluation_cpu_s"] for record in records]
    return statistics.mean(beyond), max(record["peak_memory_mb"] for record in records)


def speedup(results: Path) -> float:
    """Wall-clock time of trials one after the other over that of two at a time."""
    setting = Setting(*TASK, cache=str(results / "cache"))
    walls = []
    for workers in (1, 2):
        runner = LocalExecutor(workers, Silent(), [f"tasks.{TASK[0]}"])
        runner.submit(Job("warm", "", train, (TrialSpec(setting, "dense", {}, 99), results / "speed" / "warm")))
        runner.next_finished()
        start = time.monotonic()
        for seed in range(TRIALS):
            spec = TrialSpec(setting, "dense", {}, seed)
            runner.submit(Job(f"{seed}", "", train, (spec, results / "speed" / f"{seed}")))
        while not runner.idle:
            runner.next_finished()
        walls.append(time.monotonic() - start)
        runner.close()
    return walls[0] / walls[1]


def main() -> None:
    """Measure and print."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    table = Table(title=f"whole runs of {TASK[0]} {TASK[1]}, {len(METHODS) * len(BUDGETS)} points")
    for column in ("what", "measured", "aim"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        ratio, again = sharing(Path(folder))
        beyond, memory = overheads(Path(folder) / "ours")
        table.add_row("CPU of each point alone / of one run of all", f"{ratio:.1f}", ">= 5")
        table.add_row("the same run again, CPU s with start-up and report", f"{again:.1f}", "<= 10")
        table.add_row("CPU s of a trial beyond training and scoring", f"{beyond:.2f}", "<= 2.5")
        table.add_row("largest memory of a trial, MB", f"{memory:.0f}", "<= 1200")
        table.add_row(
            "trials one by one / two at a time, wall clock", f"{speedup(Path(folder) / 'ours'):.2f}", ">= 1.8"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
