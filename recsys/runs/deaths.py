"""Workers that died: their shards are done again, but not for ever."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from recsys.domain.errors import NoRoomError, RecsysError
from recsys.runs.console import say

MOST = 5
"""Workers that one shard may be the death of."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
}
"""Environment of a worker: as many of them as there are cores, each with one thread a library."""


class Deaths:
    """Counts them for each shard."""

    def __init__(self, shards: Sequence[object]) -> None:
        """Start with none."""
        self.shards = shards
        self.count: Counter[int] = Counter()

    def note(self, number: int, how: str, *, killed: bool) -> None:
        """Count the death of the worker that had a shard; `killed` says whether from outside.

        Raises:
            NoRoomError: it was the last allowed, and something killed the worker.
            RecsysError: it was the last allowed, and the worker broke.
        """
        self.count[number] += 1
        shard = str(self.shards[number])[:120]
        if self.count[number] < MOST:
            say(f"{shard}: its worker died ({how}); another takes it")
            return
        raise (NoRoomError if killed else RecsysError)(
            f"{shard} was the death of {MOST} workers ({how})",
            "a worker that is killed mostly wants for memory: let fewer work at a time",
            "what is done stands: the same command goes on",
        )


def how_died(exit_code: int | None) -> str:
    """Say how a process ended, by its exit code."""
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
