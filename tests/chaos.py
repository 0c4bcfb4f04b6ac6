"""`make chaos`: kill a comparison and its processes at random moments until it has ended; its points must not know.

One comparison is run undisturbed. Then the same is run again, round after round in fresh folders, while supervisor and
workers get SIGKILL; the same command is repeated until it ends. Counted are finished trials that were lost or trained
again, files that cannot be read, processes that outlive their supervisor, and rounds with other points.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

COMPARISON = ("run", "synthetic", "--preset", "smoke", "--jobs", "2")
METHODS = "uniform_width,magnitude_pruning,feature_noise"
FOLDER = Path("synthetic", "smoke")
#: parts of the names of columns that depend on the machine and the moment
TIMED = ("latency", "cpu_s", "_memory_", "run_id", "started", "ended")
KILLS_A_RUN, KILLS_A_ROUND = 4, 12  # in the time that an undisturbed run takes; at most in one results folder
WORKERS = 0.75  # share of the attempts that are on a worker
ALIVE_SECONDS = 5.0  # that processes have for noticing that their supervisor is gone


@dataclass
class Tally:
    """What has happened.

    Attributes:
        kills: by what was killed.
        lost: finished trials that were gone or trained again.
        torn: files that could not be read.
        orphans: processes that outlived their supervisor.
        different: rounds whose points were not those of the undisturbed run.
        output: what the last command has printed.
    """

    kills: dict[str, int] = field(default_factory=lambda: {"supervisor": 0, "worker": 0})
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    rounds: int = 0
    different: list[str] = field(default_factory=list)
    output: str = ""

    @property
    def all_kills(self) -> int:
        return sum(self.kills.values())

    @property
    def passed(self) -> bool:
        return self.rounds > 0 and not (self.lost or self.torn or self.orphans or self.different)


def start(results: Path, methods: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench", *COMPARISON, "--methods", methods, "--results", str(results)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


def warm_up(results: Path, other: Path) -> None:
    """Give a results folder the caches and the empty MLflow store that another one has."""
    results.mkdir()
    shutil.copytree(other / "cache", results / "cache")
    with sqlite3.connect(other / "mlflow.db") as source, sqlite3.connect(results / "mlflow.db") as copy:
        source.backup(copy)


def finished(results: Path) -> dict[Path, int]:
    """The records of trials that need not be run again, and when each was written."""
    found = {}
    for path in (results / FOLDER).glob("trials/*/trial.json"):
        with suppress(FileNotFoundError, ValueError):  # another may be trained again; what is torn is counted elsewhere
            if not json.loads(path.read_text()).get("retry"):
                found[path] = path.stat().st_mtime_ns
    return found


def unreadable(results: Path) -> Iterator[str]:
    """Files under their own names that are not whole; those that are being written have other names."""
    for path in results.rglob("*.json"):
        if not any(part.startswith(".") for part in path.relative_to(results).parts):
            try:
                json.loads(path.read_text())
            except FileNotFoundError:
                continue
            except ValueError as error:
                yield f"{path}: {error}"


def points(results: Path) -> pd.DataFrame:
    """What a comparison has measured, but for times."""
    return untimed(pd.read_csv(results / FOLDER / "points.csv"))


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    """Points without what depends on the machine and the moment."""
    return table.drop(columns=[name for name in table if any(part in name for part in TIMED)])


def kill_one(supervisor: subprocess.Popen[bytes], dice: random.Random, tally: Tally) -> None:
    """Kill the supervisor, or one of the processes that it has started, directly or not."""
    try:
        below = psutil.Process(supervisor.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    if dice.random() < WORKERS:
        with suppress(psutil.NoSuchProcess, IndexError):  # none yet, or no more
            dice.choice(below).kill()
            tally.kills["worker"] += 1
        return
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    tally.kills["supervisor"] += 1
    _, alive = psutil.wait_procs(below, timeout=ALIVE_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                tally.orphans.append(f"{process.pid} {' '.join(process.cmdline())}")
                process.kill()


def one_round(results: Path, methods: str, *, kills: int, gap_s: float, dice: random.Random, tally: Tally) -> None:
    """Run one comparison to its end, with so many kills at most; they come ``gap_s`` apart on average."""
    log = results.with_suffix(".log")
    before: dict[Path, int] = {}
    last = tally.all_kills + kills
    while True:
        supervisor = start(results, methods, log)
        while supervisor.poll() is None:
            next_kill = time.monotonic() + dice.expovariate(1 / gap_s)
            while supervisor.poll() is None and (time.monotonic() < next_kill or tally.all_kills >= last):
                time.sleep(0.02)
            before |= finished(results)
            if supervisor.poll() is None:
                kill_one(supervisor, dice, tally)
            tally.torn += unreadable(results)
            now = finished(results)
            tally.lost += [str(path) for path, written in before.items() if now.get(path) != written]
            before = now
        tally.output = log.read_text()
        failed = (results / FOLDER / "points.csv").exists() and (points(results)["status"] == "failed").any()
        if supervisor.returncode == 0 and not failed:  # a trial whose process was killed three times is shown as failed
            return
        if supervisor.returncode not in (0, -signal.SIGKILL) and tally.all_kills >= last:
            raise RuntimeError(f"the comparison ends with {supervisor.returncode}:\n{tally.output}")


def chaos(folder: Path, *, kills: int, seconds: float, seed: int, methods: str = METHODS) -> Tally:
    """Kill so often, or until the time is over, and compare.

    Args:
        folder: an empty folder.
        kills: how many.
        seconds: after which no further round is begun.
        seed: of what is killed when.
        methods: of the comparison.
    """
    dice, tally, deadline = random.Random(seed), Tally(), time.monotonic() + seconds
    started = time.monotonic()
    undisturbed = start(folder / "undisturbed", methods, folder / "undisturbed.log")
    if undisturbed.wait(timeout=seconds):
        raise RuntimeError((folder / "undisturbed.log").read_text())
    gap_s = (time.monotonic() - started) / KILLS_A_RUN
    expected = points(folder / "undisturbed")
    while tally.all_kills < kills and time.monotonic() < deadline:
        results = folder / f"round{tally.rounds}"
        if tally.rounds % 2 == 0:  # otherwise kills hit the making of caches and of MLflow's tables as well
            warm_up(results, folder / "undisturbed")
        one_round(
            results, methods, kills=min(kills - tally.all_kills, KILLS_A_ROUND), gap_s=gap_s, dice=dice, tally=tally
        )
        tally.rounds += 1
        try:
            pd.testing.assert_frame_equal(points(results), expected)
        except AssertionError as error:
            tally.different.append(f"{results.name}: {error}")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        tally = chaos(Path(folder), kills=options.kills, seconds=options.seconds, seed=options.seed)
        print(f"{tally.kills} killed in {tally.rounds} rounds, {time.monotonic() - started:.0f} s, seed {options.seed}")
        for name in ("lost", "torn", "orphans", "different"):
            found = getattr(tally, name)
            print(f"{name}: {len(found)}", *found, sep="\n  ")
        sys.exit(0 if tally.passed else 1)


if __name__ == "__main__":
    main()
