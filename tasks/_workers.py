"""Many small jobs at a time: in processes where Python itself is busy, in threads where NumPy and PyTorch are."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

from bench import BenchError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], None], jobs: Sequence[Job], workers: int, afterwards: Sequence[Job] = ()
) -> Iterator[None]:
    """Do all ``jobs`` in other processes, and yield as each one is finished.

    A single worker is a process of its own as well: in this one, linear algebra may have any number of threads, which
    gives other last bits.

    Args:
        work: what to do; importable by name.
        jobs: in any order.
        workers: processes at a time, at least one.
        afterwards: jobs that need the results of ``jobs``.

    Raises:
        BenchError: one of the processes was killed.
    """
    # A fork would copy locks that threads of this process may hold.
    pool = ProcessPoolExecutor(max(1, workers), multiprocessing.get_context("spawn"))
    try:
        for part in (jobs, afterwards):
            with _one_thread_each(), _deaf_to_interrupts():  # processes are started where jobs are submitted
                underway = [pool.submit(work, job) for job in part]
            for done in as_completed(underway):
                yield done.result()
    except BrokenProcessPool as error:
        raise BenchError(
            "a process that made data was ended from outside, as where memory runs out: run it again, with fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_threads(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Results in the order of ``jobs``, with a few more underway than there are threads and no more than that."""
    with _one_torch_thread(), ThreadPoolExecutor(max(1, workers)) as pool:
        underway: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                underway.append(pool.submit(work, job))
                if len(underway) >= 4 * max(1, workers):
                    yield underway.popleft().result()
            while underway:
                yield underway.popleft().result()
        finally:
            for future in underway:
                future.cancel()


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """One utterance is too little to share between threads; the utterances are shared already."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile leave Ctrl-C to this one, which ends them; one that comes now waits."""
    resource_tracker.ensure_running()  # it is started with the first process otherwise, and that lifts every block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile use one thread in linear algebra: they share the cores already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
