"""Work in processes of their own, so that their memory is their own."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from recsys.runs.load import threads_before_import


@contextmanager
def apart(*modules: str) -> Generator[Executor]:
    """Give a process to each task; they fork from one that has imported `modules` and no more."""
    # what is imported there reads it
    threads_before_import()
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool
