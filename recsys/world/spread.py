"""Ways to do the same work for many blocks of members: one after the other, or in processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Protocol, TypeVar

from recsys.domain.errors import RecsysError

Job = TypeVar("Job")
Done = TypeVar("Done")

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS")
"""What libraries ask for the number of their threads, once, as they are imported."""


class Spread(Protocol):
    """Calls a function of a module for each job and gives the results back in any order.

    The function may be called again for a job that was cut short.
    """

    def __call__(self, work: Callable[[Job], Done], jobs: Sequence[Job], /) -> Iterable[Done]:
        """Do the work of all jobs."""
        ...


def in_turn(work: Callable[[Job], Done], jobs: Sequence[Job], /) -> Iterable[Done]:
    """Do one job after the other, here."""
    return map(work, jobs)


@contextmanager
def processes(number: int) -> Generator[Spread]:
    """Yield what spreads jobs over fresh processes, each with one thread a library.

    They end with the block of the `with`, or with this process, whichever is first. One of them
    is faster than `in_turn` where libraries have several threads: products here are too small
    for those, which spend their time waiting for each other.
    """
    with _single_threads():
        pool = ProcessPoolExecutor(
            number, mp_context=get_context("spawn"), initializer=_stay_with_parent
        )
        try:
            yield partial(_over, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def _over(
    pool: ProcessPoolExecutor, work: Callable[[Job], Done], jobs: Sequence[Job], /
) -> Iterator[Done]:
    try:
        for done in as_completed([pool.submit(work, job) for job in jobs]):
            yield done.result()
    except BrokenProcessPool as broken:
        raise RecsysError(
            "a process that played a block of members was ended from outside",
            "the machine may have run out of memory: ask for fewer processes",
            "the same command goes on from the last day that was finished",
        ) from broken


@contextmanager
def _single_threads() -> Generator[None]:
    """Let processes that are started now have one thread a library."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _stay_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
