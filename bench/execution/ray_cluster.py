"""Jobs on the machines of a Ray cluster."""

import importlib.metadata
import os
import platform
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from bench.errors import BenchError, said
from bench.execution.executor import ATTEMPTS, Cluster, Executor, Job, JobObserver, answer
from bench.plugins.registry import project_digest

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # read when ray is imported

POLL_SECONDS = 0.5
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class RayExecutor(Executor):
    """Runs jobs on a Ray cluster, as many at a time as it has room for; a lost machine costs what ran on it.

    Jobs leave their files in the results folder, and read data and dense models from there: every machine must see
    that folder under the same path, and have the same version of this package.

    Raises:
        BenchError: Ray is not installed, the cluster is not there, or a machine lacks the folder or the package.
    """

    def __init__(
        self, cluster: Cluster, results: Path, workers: int, observer: JobObserver, timeout_s: float | None = None
    ) -> None:
        super().__init__(workers, observer, timeout_s)
        self._ray = _started(cluster.address)
        self._cluster = cluster
        here = self._on(self._ray.get_runtime_context().get_node_id())
        self._board = self._ray.remote(num_cpus=0)(_Board).options(**here).remote()
        work = self._ray.remote(  # a process of its own for each job
            max_retries=0, max_calls=1, runtime_env={"env_vars": ONE_THREAD}
        )(_work)
        self._run = work.options(num_cpus=cluster.cpus, num_gpus=cluster.gpus)
        self._run_here = work.options(**here)
        self._check_machines(results)

    @property
    def room(self) -> int:
        """How many jobs the machines that are there now have room for; at least one, as others may come."""
        there = self._ray.cluster_resources()
        rooms = [there.get("CPU", 0.0) / self._cluster.cpus] if self._cluster.cpus else []
        rooms += [there.get("GPU", 0.0) / self._cluster.gpus] if self._cluster.gpus else []
        return max(1, int(min(rooms)))

    def wait(self) -> tuple[Job, Any] | None:
        finished, _ = self._ray.wait(list(self._running), timeout=POLL_SECONDS)
        said = self._ray.get(self._board.read.remote())
        for job in self._running.values():
            if job.key in said:
                self.observer.job_progress(job, *said[job.key])
        return self._received(finished[0]) if finished else self._end_overdue()

    def close(self) -> None:
        """End all jobs, and leave the cluster."""
        super().close()
        self._ray.shutdown()

    def _launch(self, job: Job) -> Any:
        run = self._run_here if job.here else self._run
        return run.remote(job.function, job.args, self._board, job.key)

    def _kill(self, handle: Any) -> None:
        with suppress(Exception):
            self._ray.cancel(handle, force=True)

    def _on(self, node: str) -> dict[str, Any]:
        """Options of what runs on this machine and no other, whether it has cores to spare or not."""
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return {"scheduling_strategy": affinity(node, soft=False), "num_cpus": 0}

    def _received(self, handle: Any) -> tuple[Job, Any] | None:
        job = self._forget(handle)
        try:
            return job, self._ray.get(handle)
        except self._ray.exceptions.RayTaskError as error:
            return job, BenchError(said(error))
        except self._ray.exceptions.RayError as error:
            return self._lost(job, f"its process or its machine was lost {ATTEMPTS} times ({type(error).__name__})")

    def _check_machines(self, results: Path) -> None:
        """Every machine sees the results folder and runs the same code; otherwise trials would fail one by one."""
        with NamedTemporaryFile(prefix=".seen.", dir=results.resolve()) as token:
            look = self._ray.remote(max_retries=0)(_look)
            nodes = [node for node in self._ray.nodes() if node["Alive"]]
            answers = [look.options(**self._on(node["NodeID"])).remote(token.name) for node in nodes]
            for node, answer in zip(nodes, answers, strict=True):
                where = f"machine {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) of the Ray cluster"
                try:
                    sees, code = self._ray.get(answer, timeout=120)
                except self._ray.exceptions.RayError as error:
                    raise BenchError(f"{where} cannot run this package: {error}; install it there") from error
                if not sees:
                    raise BenchError(
                        f"{where} does not see the results folder {results.resolve()}: data, dense models and finished "
                        "trials go through it. Share it under the same path, or choose a shared folder with --results"
                    )
                if code != _code():
                    raise BenchError(f"{where} has other code ({code}) than this one ({_code()}): install the same")


class _Board:
    """An actor that keeps what running jobs last reported of their progress."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, str]] = {}

    def say(self, key: str, fraction: float, note: str) -> None:
        self._said[key] = (fraction, note)

    def read(self) -> dict[str, tuple[float, str]]:
        """What has been reported since the last call, by the key of the job."""
        said, self._said = self._said, {}
        return said


def _work(function: Any, args: tuple[Any, ...], board: Any, key: str) -> Any:
    """In the process of a job: call the function, and put its progress on the board."""
    return answer(function, args, lambda fraction, note: board.say.remote(key, fraction, note))


def _look(token: str) -> tuple[bool, str]:
    return Path(token).is_file(), _code()


def _code() -> str:
    """What must be the same on two machines that are to give the same numbers."""
    return f"{importlib.metadata.version('torch')}, Python {platform.python_version()}, source {project_digest()}"


def _started(address: str | None) -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise BenchError("Ray is not installed: install this package with its extra `ray`") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    options["runtime_env"] = {"env_vars": {"BENCH_PLUGINS": os.environ.get("BENCH_PLUGINS", str(Path.cwd()))}}
    if address is None:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        if address and ":" in address:  # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchError(f"no Ray cluster at {address!r}: {error}; start one with `ray start --head`") from error
    return ray
