"""Shards in processes of this machine, started anew (never forked) and replaced when they die."""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from recsys.domain.arrays import NONE
from recsys.domain.errors import RecsysError
from recsys.domain.stop import StopFlag
from recsys.runs.deaths import ONE_THREAD, Deaths, how_died

T = TypeVar("T")
R = TypeVar("R")


def each(
    work: Callable[[T], R], shards: Sequence[T], *, processes: int, stop: StopFlag
) -> Iterator[tuple[int, R]]:
    """Yield the place of each shard and its result, as they come; 0 processes = one a core.

    When told to stop, what is in flight is finished and the rest is left.

    Raises:
        RecsysError: `work` raised it, or a shard was the death of too many workers.
    """
    waiting = deque(range(len(shards)))
    deaths = Deaths(shards)
    with _crew(work, min(processes or cores(), len(shards))) as crew:
        for number, result in _news(crew, waiting, shards, stop=stop):
            if isinstance(result, _Died):
                deaths.note(number, how_died(result.exit_code), killed=result.killed)
                waiting.appendleft(number)
            else:
                yield number, result


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Died:
    """What is heard of a worker that is no more."""

    exit_code: int | None

    @property
    def killed(self) -> bool:
        """Whether something outside ended it."""
        return self.exit_code is not None and self.exit_code < 0


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    shard: int = NONE
    """Place of the shard it is busy with, or NONE."""


class _Crew:
    """The workers that live, and what each is busy with."""

    def __init__(self, work: Callable[[Any], Any], size: int) -> None:
        self.work, self.size = work, size
        self.workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        """Those that have a shard."""
        return [worker for worker in self.workers if worker.shard != NONE]

    def fill(self, waiting: deque[int], shards: Sequence[object]) -> None:
        """Hand out what waits until all are busy."""
        while waiting and len(self.busy) < self.size:
            number = waiting.popleft()
            self._give(number, shards[number])

    def _give(self, number: int, shard: object) -> None:
        """Hand a shard to a worker that has none, or to a new one."""
        for worker in [one for one in self.workers if one.shard == NONE]:
            with suppress(OSError):  # it was told to leave while it waited
                worker.pipe.send((number, shard))
                worker.shard = number
                return
            self._bury(worker)
        worker = _started(self.work)
        self.workers.append(worker)
        worker.shard = number
        with suppress(OSError):  # it died as it started: its end is heard next
            worker.pipe.send((number, shard))

    def heard(self) -> Iterator[tuple[int, Any]]:
        """Wait for news; yield shards with their results, or with the death of their worker.

        Raises:
            RecsysError: of the work.
            RuntimeError: any other error of the work, with its trace.
        """
        busy = self.busy
        # waiting for nobody would never end
        ready = set(wait([worker.pipe for worker in busy])) if busy else set()
        for worker in [one for one in busy if one.pipe in ready]:
            number, worker.shard = worker.shard, NONE
            try:
                went_well, said = worker.pipe.recv()
            except (EOFError, OSError):
                yield number, _Died(self._bury(worker))
                continue
            if not went_well:
                raise said if isinstance(said, RecsysError) else RuntimeError(said)
            yield number, said

    def _bury(self, worker: _Worker) -> int | None:
        """Forget a worker whose end of the pipe is closed; return its exit code."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        return worker.process.exitcode

    def dismiss(self) -> None:
        """End all: who waits leaves at once, who is busy is killed."""
        for worker in self.busy:
            worker.process.kill()
        for worker in list(self.workers):
            self._bury(worker)


def _news(
    crew: _Crew, waiting: deque[int], shards: Sequence[object], *, stop: StopFlag
) -> Iterator[tuple[int, Any]]:
    """Keep all busy, and yield what is heard of them, until nothing waits or `stop` is raised."""
    while crew.busy or (waiting and not stop.raised):
        if not stop.raised:
            crew.fill(waiting, shards)
        yield from crew.heard()


@contextmanager
def _crew(work: Callable[[Any], Any], size: int) -> Generator[_Crew]:
    crew = _Crew(work, size)
    try:
        yield crew
    finally:
        crew.dismiss()


def _started(work: Callable[[Any], Any]) -> _Worker:
    """Start a process that hears no Ctrl-C: the terminal sends it to all, and it is for us."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    # the first start would start it, and let SIGINT through again behind our back
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ |= ONE_THREAD
    try:
        process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """Do what comes through the pipe until it is closed, as it is when the driver dies."""
    leaving = _Leaving()
    signal.signal(signal.SIGTERM, leaving)
    while not leaving.asked:
        try:
            _, shard = pipe.recv()
        except (EOFError, OSError):
            return
        leaving.busy = True
        said: tuple[bool, Any]
        try:
            said = True, work(shard)
        except RecsysError as refused:
            said = False, refused
        except Exception:  # ruff: ignore[blind-except] the driver raises it, trace and all
            said = False, traceback.format_exc()
        try:
            pipe.send(said)
        except OSError:
            return
        leaving.busy = False


class _Leaving:
    """SIGTERM ends a worker that waits; one that is busy ends its shard first."""

    busy = False
    asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self.busy:
            raise SystemExit(0)
