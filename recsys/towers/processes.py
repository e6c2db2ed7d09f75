"""Several processes on one machine: each computes its rows of every batch (RULINGS 12)."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from recsys.domain.errors import DivergedError, NoRoomError, RecsysError
from recsys.domain.stop import StopFlag
from recsys.towers.batches import Share
from recsys.towers.job import EpochRow, TowerJob

_PATIENCE = 30.0
"""Seconds that a finished process may take to end."""
_KNOWN = {error.__name__: error for error in (DivergedError, NoRoomError)}


def inside() -> bool:
    """Whether this process is one of several, started by us or by torchrun."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def share() -> Share:
    """Return which rows of a batch this process computes."""
    if not inside():
        return Share()
    return Share(rank=int(os.environ["RANK"]), world=int(os.environ["WORLD_SIZE"]))


@dataclass(frozen=True)
class _Post:
    """Tells the parent of each epoch, and of what else is worth a line."""

    line: Connection

    def __call__(self, said: EpochRow | str) -> None:
        self.line.send(said)


def run(job: TowerJob, number: int, train: Callable[[TowerJob], Path]) -> None:
    """Call `train` in `number` fresh processes and wait; a stop signal is passed on to them.

    Raises:
        DivergedError, NoRoomError: one of them met it.
        RecsysError: one of them failed otherwise.
    """
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    silent = replace(job, on_epoch=_Post(there), tell=_nobody, stop=StopFlag())
    first = replace(silent, tell=_Post(there))
    port = _free_port()
    children = [
        context.Process(
            target=_child, args=(silent if rank else first, (rank, number, port), there, train)
        )
        for rank in range(number)
    ]
    for child in children:
        child.start()
    there.close()
    try:
        _wait(job, children, here)
    finally:
        for child in children:
            child.kill()
            child.join()


def _wait(job: TowerJob, children: list[Any], line: Connection) -> None:
    """Hear the children out until the last has closed its end of the line."""
    told = False
    with suppress(EOFError):
        while True:
            if line.poll(0.1):
                _hear(job, line.recv())
            if job.stop.raised and not told:
                told = _pass_on(children)
            if any(child.exitcode not in {None, 0} for child in children):
                break
    for child in children:
        child.join(_PATIENCE)
    if any(child.exitcode != 0 for child in children):
        raise RecsysError("a training process ended early; its error stands above")


def _pass_on(children: list[Any]) -> bool:
    for child in children:
        os.kill(child.pid, signal.SIGTERM)
    return True


def _nobody(_said: str) -> None:
    return


def _hear(job: TowerJob, message: EpochRow | str | tuple[str, str]) -> None:
    match message:
        case EpochRow():
            job.on_epoch(message)
        case str():
            job.tell(message)
        case kind, text:
            raise _KNOWN.get(kind, RecsysError)(text)


def _child(  # ruff: ignore[too-many-positional-arguments]  # a process hands them on by position
    job: TowerJob,
    place: tuple[int, int, int],
    line: Connection,
    train: Callable[[TowerJob], Path],
) -> None:
    rank, world, port = place
    # Ctrl-C reaches the parent alone, which passes it on: two signals would end us at once
    os.setsid()
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "recsys",
    }
    try:
        train(job)
    except RecsysError as error:
        if not job.stop.raised:
            line.send((type(error).__name__, str(error)))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
