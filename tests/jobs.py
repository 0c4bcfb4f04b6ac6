"""What the executor's tests run in processes of their own, and an executor that has none."""

import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

from bench import BenchError, BudgetError
from bench.execution.executor import Executor, Job, answer
from bench.plugins.registry import names

Report = Any


class Silent:
    """An observer of jobs that shows nothing."""

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        pass

    def job_ended(self, job: Job) -> None:
        pass


class Here(Executor):
    """Runs one job at a time, in this process."""

    room = 1

    def wait(self) -> tuple[Job, Any]:
        (job,) = self._running.values()
        return self._forget(job.key), answer(job.function, job.args, lambda fraction, note: None)

    def _launch(self, job: Job) -> str:
        return job.key

    def _kill(self, handle: Any) -> None:
        """There is nothing to kill."""


def method_names(report: Report) -> list[str]:
    return names("methods")


def add(left: int, right: int, report: Report) -> int:
    report(0.5, "adding")
    return left + right


def slow_add(left: int, right: int, report: Report) -> int:
    time.sleep(0.5)
    return left + right


def threads(report: Report) -> dict[str, Any]:
    import torch

    return {"torch": torch.get_num_threads(), "omp": os.environ["OMP_NUM_THREADS"], "pid": os.getpid()}


def mistake(report: Report) -> None:
    raise ValueError("the value was wrong")


def known_mistake(report: Report) -> None:
    raise BudgetError("no such width")


def node(report: Report) -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def die(log: Path, report: Report) -> None:
    with log.open("a") as file:
        file.write("tried\n")
    os._exit(7)


def be_killed(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nap(seconds: float, report: Report) -> float:
    time.sleep(seconds)
    return seconds


def die_once(log: Path, report: Report) -> str:
    if not log.exists():
        log.write_text("tried\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def unpicklable(log: Path, report: Report) -> Any:
    with log.open("a") as file:
        file.write("tried\n")
    return lambda: None


def is_deaf_to_interrupts(job: int) -> None:
    assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def is_killed(job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def append(log: Path, word: str, report: Report) -> str:
    with log.open("a") as file:
        file.write(word + "\n")
    return log.read_text()


def spin(log: Path, report: Report) -> None:
    """Computes in C and never lets go of Python's lock, so that no other thread of the process runs."""
    log.write_text(str(os.getpid()))
    sum(itertools.repeat(1))


def leave_a_child(log: Path, report: Report) -> str:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    log.write_text(str(child))
    return "done"


def exhaust_memory(report: Report) -> None:
    raise MemoryError


class Odd(BenchError):
    """An exception that cannot be rebuilt from its message."""

    def __init__(self, value: int, limit: int) -> None:
        super().__init__(f"{value} is above {limit}")


def odd_mistake(report: Report) -> None:
    raise Odd(3, 2)


def sleep(log: Path, report: Report) -> None:
    """With a child process of its own, as data loaders have."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    log.with_suffix(".draft").write_text(f"{os.getpid()} {child}")
    log.with_suffix(".draft").rename(log)
    report(0.1, "asleep")
    time.sleep(60)
    raise BenchError("nobody ended this")
