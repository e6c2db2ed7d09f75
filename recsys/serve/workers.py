"""Processes that do the same work: started, started again when one dies, told to stop together."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType, MappingProxyType
from typing import Any

AGAIN_SECONDS = 1.0
"""How long after a worker's start, at least, it is started again: one that cannot start does not
keep a core busy with trying."""
LOOK_SECONDS = 0.25
TOLD: Mapping[str, str] = MappingProxyType({"ready": "worker_ready", "died": "worker_died"})

Work = Callable[[int, Connection], None]
"""Does a worker's work: its number from 1, and where it says that it is ready. It must be known by
its name in a module (a partial of such a function will do): processes are spawned, not forked."""


@dataclass
class _Worker:
    process: SpawnProcess
    said: Connection
    alive: Connection
    """Held by this process alone: a worker that reads its end knows when this one is gone."""
    started: float
    ready: bool = False


class Crew:
    """Some workers with the same work."""

    def __init__(self, count: int, work: Work, *, said: Callable[[str, str], None]) -> None:
        """Start them; `said` hears (event, detail) of those that are ready, and those that died."""
        self._work, self._said = work, said
        self._context = get_context("spawn")
        self._stopping = False
        self._workers = {number: self._started(number) for number in range(1, count + 1)}

    def keep(self, ready: Callable[[], None], *, patience: float) -> None:
        """Keep them at work until a signal ends it; then wait, and end who takes longer.

        `ready` is called once all of them are, `patience` is in seconds. SIGTERM, SIGINT and
        SIGHUP go to all of them.
        """
        with self._signals():
            try:
                self._watch(ready)
            finally:
                if not self._stopping:  # a bug of ours: none of them stays behind
                    self._hand_on(signal.SIGTERM, None)
                self._wait(patience)

    def _watch(self, ready: Callable[[], None]) -> None:
        told = False
        while not self._stopping:
            self._look()
            if not told and all(worker.ready for worker in self._workers.values()):
                told = True
                ready()

    def _wait(self, patience: float) -> None:
        until = time.monotonic() + patience
        for worker in self._workers.values():
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _look(self) -> None:
        """Hear who is ready; start again who died."""
        waited = [worker.process.sentinel for worker in self._workers.values()]
        wait(waited, timeout=LOOK_SECONDS)
        for number, worker in list(self._workers.items()):
            if not worker.ready and worker.said.poll():
                with suppress(EOFError):
                    self._said(TOLD["ready"], str(worker.said.recv()))
                    worker.ready = True
            if worker.process.is_alive() or self._stopping:
                continue
            if time.monotonic() - worker.started < AGAIN_SECONDS:
                time.sleep(LOOK_SECONDS)
                continue
            self._said(TOLD["died"], f"worker {number}, exit code {worker.process.exitcode}")
            worker.said.close()
            worker.alive.close()
            self._workers[number] = self._started(number)

    def _started(self, number: int) -> _Worker:
        said, says = self._context.Pipe(duplex=False)
        heard, alive = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_begin,
            args=(self._work, number),
            kwargs={"says": says, "heard": heard},
            name=f"worker-{number}",
        )
        process.start()
        says.close()
        heard.close()
        return _Worker(process, said, alive, time.monotonic())

    @contextmanager
    def _signals(self) -> Generator[None]:
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {one: signal.signal(one, self._hand_on) for one in handled}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _hand_on(self, sig: int, frame: FrameType | None) -> None:
        """Tell all workers what this process was told."""
        del frame
        self._stopping = self._stopping or sig != signal.SIGHUP
        for worker in self._workers.values():
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, sig)


def _begin(work: Work, number: int, *, says: Connection, heard: Connection) -> None:
    """Work in a session of its own: Ctrl-C of a terminal reaches it once, through the crew."""
    os.setsid()
    threading.Thread(target=_orphaned, args=(heard,), name="parent", daemon=True).start()
    work(number, says)


def _orphaned(heard: Connection) -> None:
    """Drain and end when the process that started this one is gone."""
    with suppress(EOFError, OSError):
        _: Any = heard.recv()
    os.kill(os.getpid(), signal.SIGTERM)
