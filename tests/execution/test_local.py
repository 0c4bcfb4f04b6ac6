import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import BenchError, BudgetError
from bench.execution.executor import ATTEMPTS, Job, Lost, answer
from bench.execution.local import LocalExecutor
from tests import jobs


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, float, str]] = []
        self.ended: list[str] = []

    def job_progress(self, job: Job, fraction: float, note: str) -> None:
        self.progress.append((job.key, fraction, note))

    def job_ended(self, job: Job) -> None:
        self.ended.append(job.key)


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalExecutor]:
    """One server to fork from for all tests: it takes seconds to load PyTorch."""
    executor = LocalExecutor(2, Notes())
    finish_one(executor, jobs.add, 1, 2)
    yield executor
    executor.close()


@pytest.fixture
def executor(shared: LocalExecutor) -> Iterator[LocalExecutor]:
    shared.observer = Notes()
    shared.workers, shared.timeout_s = 2, math.inf
    yield shared
    shared.close()


class Unwritable(Exception):
    """One whose text cannot be made, and that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError(), "ValueError"),
        (ValueError("two\nlines \x1b[2J \ud800"), "ValueError: two lines ?[2J ?"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(0), "SystemExit: 0"),
        (Unwritable(), "Unwritable: it cannot be written down"),
        (GeneratorExit("a" * 10_000), f"GeneratorExit: {'a' * 300} … {'a' * 300}"),
    ],
)
def test_whatever_a_plugin_raises_is_an_answer_of_one_line(raised: BaseException, said: str) -> None:
    def fail(report: Any) -> None:
        raise raised

    given = pickle.loads(pickle.dumps(answer(fail, (), lambda fraction, note: None)))  # noqa: S301
    assert type(given) is BenchError and str(given) == said


def job(key: str, function: Any, *args: Any, needs: tuple[str, ...] = ()) -> Job:
    return Job(key, f"job {key}", function, args, frozenset(needs))


def finish(executor: LocalExecutor) -> dict[str, Any]:
    results = {}
    while not executor.idle:
        done, result = executor.next_finished()
        results[done.key] = result
    return results


def finish_one(executor: LocalExecutor, function: Any, *args: Any) -> Any:
    executor.submit(job("one", function, *args))
    return finish(executor)["one"]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended, and only waits for its parent to ask


def test_a_job_alone_returns_its_result_or_raises_why_there_is_none(executor: LocalExecutor, tmp_path: Path) -> None:
    assert executor.run_alone(job("sum", jobs.add, 1, 2)) == 3
    with pytest.raises(BudgetError, match="no such width"):
        executor.run_alone(job("mistake", jobs.known_mistake))
    with pytest.raises(BenchError, match="job fatal: its process died 3 times"):
        executor.run_alone(job("fatal", jobs.die, tmp_path / "log"))
    assert executor.idle


def test_results_and_progress_come_back(executor: LocalExecutor) -> None:
    for i in range(3):
        executor.submit(job(f"sum {i}", jobs.add, i, 10))
    assert not executor.idle
    assert finish(executor) == {"sum 0": 10, "sum 1": 11, "sum 2": 12}
    noted = executor.observer
    assert isinstance(noted, Notes)
    assert sorted(noted.ended) == ["sum 0", "sum 1", "sum 2"]
    assert ("sum 1", 0.5, "adding") in noted.progress
    assert ("sum 1", 0.0, "") in noted.progress


def test_every_job_has_one_thread_and_a_process_of_its_own(executor: LocalExecutor) -> None:
    for i in range(2):
        executor.submit(job(f"threads {i}", jobs.threads))
    first, second = finish(executor).values()
    assert first["torch"] == second["torch"] == 1
    assert first["omp"] == "1"
    assert len({first["pid"], second["pid"], os.getpid()}) == 3


def test_an_exception_is_a_result_and_the_others_go_on(executor: LocalExecutor) -> None:
    executor.submit(job("mistake", jobs.mistake))
    executor.submit(job("known", jobs.known_mistake))
    executor.submit(job("good", jobs.add, 1, 2))
    results = finish(executor)
    assert results["good"] == 3
    assert type(results["mistake"]) is BenchError
    assert str(results["mistake"]) == "ValueError: the value was wrong"
    assert type(results["known"]) is BudgetError
    assert str(results["known"]) == "no such width"


def test_a_process_that_dies_is_tried_again_then_lost(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job("dies", jobs.die, tmp_path / "log"))
    executor.submit(job("lives", jobs.add, 1, 2))
    results = finish(executor)
    assert results["lives"] == 3
    assert isinstance(results["dies"], Lost)
    assert f"{ATTEMPTS} times (exit code 7)" in str(results["dies"])
    assert (tmp_path / "log").read_text().count("tried") == ATTEMPTS


def test_a_killed_process_says_that_it_may_have_been_memory(executor: LocalExecutor) -> None:
    executor.submit(job("killed", jobs.be_killed))
    result = finish(executor)["killed"]
    assert isinstance(result, Lost)
    assert "exit code -9: killed, as the system does when memory runs out" in str(result)


def test_out_of_memory_reads_well(executor: LocalExecutor) -> None:
    result = finish_one(executor, jobs.exhaust_memory)
    assert isinstance(result, BenchError)
    assert "out of memory" in str(result) and "--jobs" in str(result)


def test_an_exception_that_cannot_be_rebuilt_is_an_error_and_no_crash(executor: LocalExecutor) -> None:
    result = finish_one(executor, jobs.odd_mistake)
    assert isinstance(result, BenchError)
    assert "cannot be read" in str(result)


def test_what_hangs_is_ended_without_another_attempt(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.timeout_s = 3.0
    executor.submit(job("hangs", jobs.sleep, tmp_path / "log"))
    executor.submit(job("lives", jobs.add, 1, 2))
    executor.submit(Job("untimed", "untimed", jobs.nap, (3.5,), timed=False))
    results = finish(executor)
    assert results["lives"] == 3
    assert results["untimed"] == 3.5
    assert isinstance(results["hangs"], Lost)
    assert "ended after 3 s, the limit of --trial-timeout" in str(results["hangs"])
    pids = [int(pid) for pid in (tmp_path / "log").read_text().split()]
    assert not any(alive(pid) for pid in pids)  # nor the child that it had


def test_what_a_job_leaves_running_is_ended(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job("parent", jobs.leave_a_child, tmp_path / "log"))
    assert finish(executor) == {"parent": "done"}
    time.sleep(0.2)
    assert not alive(int((tmp_path / "log").read_text()))


def test_the_server_that_forks_may_be_killed(executor: LocalExecutor) -> None:
    assert finish_one(executor, jobs.add, 1, 2) == 3
    from multiprocessing import forkserver

    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    assert finish_one(executor, jobs.add, 2, 3) == 5


def test_jobs_end_with_their_supervisor_whatever_they_compute(tmp_path: Path) -> None:
    logs = [tmp_path / "sleep", tmp_path / "spin"]
    script = "import sys; from pathlib import Path; from tests import jobs; from tests.execution.test_local import *\n"
    script += "executor = LocalExecutor(2, Notes())\n"
    script += "for log in sys.argv[1:]: executor.submit(job(log, getattr(jobs, Path(log).name), Path(log)))\n"
    script += "executor.next_finished()"
    with subprocess.Popen([sys.executable, "-c", script, *map(str, logs)]) as supervisor:
        try:
            deadline = time.monotonic() + 120
            while not all(log.exists() and log.read_text() for log in logs):
                assert time.monotonic() < deadline and supervisor.poll() is None
                time.sleep(0.02)
            pids = [int(pid) for log in logs for pid in log.read_text().split()]
            assert all(alive(pid) for pid in pids)
        finally:
            supervisor.kill()
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_a_process_that_is_killed_once_is_tried_again(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job("killed", jobs.die_once, tmp_path / "log"))
    assert finish(executor) == {"killed": "survived"}


def test_a_result_that_cannot_be_sent_is_an_error_with_its_reason(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job("lambda", jobs.unpicklable, tmp_path / "log"))
    result = finish(executor)["lambda"]
    assert isinstance(result, BenchError)
    assert "pickle" in str(result)
    assert (tmp_path / "log").read_text().count("tried") == 1


def test_a_job_waits_for_what_it_needs(executor: LocalExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    executor.submit(job("third", jobs.append, log, "third", needs=("first", "second")))
    executor.submit(job("second", jobs.append, log, "second", needs=("first",)))
    executor.submit(job("first", jobs.append, log, "first"))
    assert list(finish(executor)) == ["first", "second", "third"]
    assert log.read_text().split() == ["first", "second", "third"]


def test_a_job_that_is_submitted_again_has_not_ended_yet(executor: LocalExecutor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert finish_one(executor, jobs.add, 1, 2) == 3
    executor.submit(job("after", jobs.append, log, "after", needs=("one",)))
    executor.submit(job("one", jobs.append, log, "one"))
    assert list(finish(executor)) == ["one", "after"]


def test_what_needs_a_failed_job_runs_all_the_same(executor: LocalExecutor) -> None:
    executor.submit(job("fails", jobs.mistake))
    executor.submit(job("after", jobs.add, 1, 1, needs=("fails",)))
    assert finish(executor)["after"] == 2


def test_a_result_that_waits_to_be_read_is_not_overdue(executor: LocalExecutor) -> None:
    """The supervisor may be busy, with an index or a store, when the time of a job that has answered is over."""
    executor.workers, executor.timeout_s = 1, 1.0
    executor.submit(job("quick", jobs.add, 1, 2))
    executor._start_what_can_run()
    (handle,) = executor._running
    handle.process.join()
    executor._running[handle].deadline = -math.inf
    assert finish(executor) == {"quick": 3}


def test_one_worker_keeps_the_order_of_submission(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.workers = 1
    for word in ("a", "b", "c"):
        executor.submit(job(f"order {word}", jobs.append, tmp_path / "log", word))
    assert list(finish(executor)) == ["order a", "order b", "order c"]
    assert (tmp_path / "log").read_text().split() == ["a", "b", "c"]


def test_closing_ends_running_jobs_and_what_they_started(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.workers = 1
    log = tmp_path / "log"
    executor.submit(job("sleeps", jobs.sleep, log))
    executor.submit(job("never", jobs.append, tmp_path / "never", "x"))
    executor._start_what_can_run()
    deadline = time.monotonic() + 20
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    pids = [int(pid) for pid in log.read_text().split()]
    assert all(alive(pid) for pid in pids)
    executor.close()
    assert executor.idle
    time.sleep(0.2)
    assert not any(alive(pid) for pid in pids)
    assert not (tmp_path / "never").exists()
    executor.submit(job("later", jobs.add, 2, 2))  # and it can be used again
    assert finish(executor) == {"later": 4}


def test_a_job_that_waits_for_nobody_is_an_error_not_a_hang(executor: LocalExecutor) -> None:
    executor.submit(job("orphan", jobs.add, 1, 1, needs=("nobody",)))
    with pytest.raises(BenchError, match="job orphan waits for a job that nobody submitted"):
        executor.next_finished()


def test_a_temporary_folder_that_no_socket_fits_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: f"/{'t' * 71}")
    with pytest.raises(BenchError, match=r"the temporary folder /t+ is too long a path for sockets: set TMPDIR"):
        LocalExecutor(1, Notes())
