"""Work in processes of their own, so that their memory is their own."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from recsys.runs.environment import before_imports


@contextmanager
def apart(*modules: str) -> Generator[Executor]:
    """Give a process to each task; they fork from one that has imported `modules` and no more.

    Weigh a training without `modules`: forked after the import of polars it held 50 MB more than
    in a process that imports polars itself, as a command does (docs/log.md).
    """
    # what is imported there reads it
    before_imports()
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool
