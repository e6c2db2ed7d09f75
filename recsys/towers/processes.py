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

from recsys.domain import errors
from recsys.domain.errors import RecsysError
from recsys.domain.stop import StopFlag
from recsys.towers.batches import Share
from recsys.towers.job import EpochRow, TowerJob

_PATIENCE = 30.0
"""Seconds that a finished process may take to end."""
_KNOWN: dict[str, type[RecsysError]] = {
    name: error
    for name, error in vars(errors).items()
    if isinstance(error, type) and issubclass(error, RecsysError)
}


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
        RecsysError: what one of them met, of its own class; or one of them failed otherwise, and it
            says which and with what.
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
    """Hear the children out until the last has closed its end of the line, or one has failed."""
    with suppress(EOFError):
        _listen(job, children, line)
    if not _failed(children):
        for child in children:
            child.join(_PATIENCE)
    ends = _failed(children) or [
        (rank, None) for rank, child in enumerate(children) if child.exitcode is None
    ]
    # who is asked to stop before it listens is ended by that
    if ends and not job.stop.raised:
        raise _ending(ends, len(children))


def _listen(job: TowerJob, children: list[Any], line: Connection) -> None:
    told = False
    while not _failed(children):
        if line.poll(0.1):
            _hear(job, line.recv())
        if job.stop.raised and not told:
            told = _pass_on(children)
    # what it said last comes before how it ended
    while line.poll():
        _hear(job, line.recv())


def _failed(children: list[Any]) -> list[tuple[int, int | None]]:
    """Return rank and exit code of those that have failed."""
    return [(rank, child.exitcode) for rank, child in enumerate(children) if child.exitcode]


def _ending(ends: list[tuple[int, int | None]], number: int) -> RecsysError:
    """Say which processes ended early, and how."""
    said = ", ".join(f"{rank} of {number} {_how(code)}" for rank, code in ends)
    hint = "its last words, if there are any, stand above"
    if any(code == -signal.SIGKILL for _, code in ends):
        hint = "the machine may have run out of memory: trainer.processes=1 asks for less of it"
    return RecsysError(f"training process (rank) {said}", hint)


def _how(code: int | None) -> str:
    if code is None:
        return f"did not end within {_PATIENCE:.0f} s"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _pass_on(children: list[Any]) -> bool:
    for child in children:
        if child.is_alive():
            child.terminate()
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
    except Exception as error:  # whatever it is, the parent must hear of it
        line.send((
            type(error).__name__,
            f"training process (rank) {rank} of {world} failed: {type(error).__name__}: {error}",
        ))
        raise


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
