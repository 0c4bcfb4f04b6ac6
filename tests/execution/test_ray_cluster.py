"""The same loop on a Ray cluster: two machines' worth of processes on this one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from bench.errors import BenchError
from bench.execution.executor import Cluster, Job, Lost
from bench.execution.ray_cluster import RayExecutor
from tests import jobs
from tests.chaos import points
from tests.conftest import bench

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

COMPARISON = ("run", "synthetic", "--preset", "smoke")
FOLDER = Path("synthetic", "smoke")


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A head and one more node, with one core each."""
    from ray.cluster_utils import Cluster as LocalNodes

    nodes = LocalNodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """Nodes for all tests that leave them as they are: starting them takes ten seconds."""
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def cluster(shared: Any) -> Iterator[Any]:
    yield shared
    ray.shutdown()  # of the driver, if it has not left them already


@pytest.fixture
def cluster_to_damage() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


def executor(cluster: Any, results: Path, **more: Any) -> RayExecutor:
    return RayExecutor(Cluster(cluster.address), results, 1, jobs.Silent(), **more)


def test_jobs_run_in_order_and_what_they_raise_comes_back(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "of_mine.py").write_text("")
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path))
    runner = executor(cluster, tmp_path)
    assert runner.room == 2
    runner.submit(Job("late", "", jobs.add, (3, 4), needs=frozenset({"early"})))
    runner.submit(Job("early", "", jobs.add, (1, 2)))
    runner.submit(Job("wrong", "", jobs.mistake, ()))
    runner.submit(Job("plugins", "", jobs.method_names, ()))
    found = {job.key: result for job, result in (runner.next_finished() for _ in range(4))}
    assert {"of_mine", "dense"} <= set(found["plugins"])  # of the folder where the command runs
    assert (found["early"], found["late"]) == (3, 7)
    assert isinstance(found["wrong"], BenchError) and "the value was wrong" in str(found["wrong"])
    assert runner.idle
    runner.close()


def test_a_worker_that_dies_is_tried_again_and_then_lost(cluster: Any, tmp_path: Path) -> None:
    runner = executor(cluster, tmp_path)
    runner.submit(Job("once", "", jobs.die_once, (tmp_path / "once",)))
    runner.submit(Job("always", "", jobs.die, (tmp_path / "log",)))
    found = {job.key: result for job, result in (runner.next_finished() for _ in range(2))}
    assert not isinstance(found["once"], (BenchError, Lost))
    assert isinstance(found["always"], Lost) and "lost 3 times" in str(found["always"])
    assert (tmp_path / "log").read_text().count("tried") == 3
    runner.close()


@pytest.mark.slow
def test_24_of_24_jobs_survive_a_node_that_goes(cluster_to_damage: Any, tmp_path: Path) -> None:
    cluster = cluster_to_damage
    runner = executor(cluster, tmp_path)
    for number in range(24):
        runner.submit(Job(f"{number}", "", jobs.slow_add, (number, 1)))
    found = {}
    for position in range(24):
        job, result = runner.next_finished()
        found[job.key] = result
        if position == 3:
            cluster.remove_node(cluster.second, allow_graceful=False)
    assert found == {f"{number}": number + 1 for number in range(24)}
    assert runner.room == 1
    runner.close()


def test_what_measures_speed_runs_here_though_another_machine_is_free(cluster: Any, tmp_path: Path) -> None:
    runner = executor(cluster, tmp_path)
    runner.submit(Job("busy", "", jobs.nap, (5.0,)))
    for number in range(3):
        runner.submit(Job(f"{number}", "", jobs.node, (), here=True))
    found = {job.key: result for job, result in (runner.next_finished() for _ in range(4))}
    assert {found[f"{number}"] for number in range(3)} == {cluster.head_node.node_id}
    runner.close()


def test_a_machine_without_the_results_folder_is_named(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.execution.ray_cluster._look", lambda token: (False, ""))
    with pytest.raises(BenchError, match="does not see the results folder"):
        executor(cluster, tmp_path)


def test_no_cluster_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        RayExecutor(Cluster("127.0.0.1:1"), tmp_path, 1, jobs.Silent())


@pytest.mark.slow
def test_24_of_24_trials_survive_a_worker_and_a_node_that_go(cluster_to_damage: Any, tmp_path: Path) -> None:
    cluster = cluster_to_damage
    chosen = ("--methods", "uniform_width,magnitude_pruning,feature_noise", "--budgets", "0.5,0.25", "--trials", "8")
    here = bench(*COMPARISON, *chosen, "--results", tmp_path / "here", "--jobs", "2")
    assert here.code == 0, here.output
    results = tmp_path / "ray"
    command = [*COMPARISON, *chosen, "--results", str(results), "--executor", "ray", "--address", cluster.address]
    with subprocess.Popen([sys.executable, "-m", "bench", *command], stdout=subprocess.PIPE, text=True) as run:
        wait_for_trials(run, results, 4)
        worker_that_trains().kill()
        wait_for_trials(run, results, 8)
        cluster.remove_node(cluster.second, allow_graceful=False)
        said, _ = run.communicate(timeout=900)
    assert run.returncode == 0 and "failed" not in said, said
    table = points(results)
    assert len(table) == 24
    pd.testing.assert_frame_equal(table, points(tmp_path / "here"))


def wait_for_trials(run: subprocess.Popen[str], results: Path, count: int) -> None:
    while len(list((results / FOLDER).glob("trials/*/trial.json"))) < count:
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.1)


def worker_that_trains() -> psutil.Process:
    """One of our own cluster: others may be on this machine."""
    while True:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_work"):
                    return process
        time.sleep(0.1)


@pytest.mark.slow
def test_a_comparison_on_ray_gives_what_it_gives_here(tmp_path: Path) -> None:
    chosen = ("--methods", "magnitude_pruning", "--budgets", "0.5")
    for name, options in (("here", ()), ("ray", ("--executor", "ray"))):
        run = bench(*COMPARISON, *chosen, "--results", tmp_path / name, *options)
        assert run.code == 0, run.output
    pd.testing.assert_frame_equal(points(tmp_path / "ray"), points(tmp_path / "here"))
