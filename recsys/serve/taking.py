"""The route by which other services tell what members did."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from fastapi import Request, Response

from recsys.domain.errors import DeviceError, NoRoomError
from recsys.serve import replies
from recsys.serve.feedback import Feedback, Stored, Told, checked
from recsys.serve.limits import UNTIL
from recsys.serve.live import Live
from recsys.serve.metrics import Metrics
from recsys.serve.recommender import Recommender
from recsys.serve.refusal import RefusedError, late
from recsys.serve.watch import tell

RETELL_SECONDS = 5
"""Retry-After where the disk did not take what was told."""


class Taking:
    """Takes events and outcomes."""

    def __init__(self, live: Live[Recommender], folder: Path, metrics: Metrics) -> None:
        """Keep what is told below `folder`.

        Raises:
            DeviceError, NoRoomError: what a service that died left there cannot be mended.
        """
        self._live, self._metrics = live, metrics
        self._feedback = Feedback(folder)

    async def told(self, request: Request) -> Response:
        """Keep events and outcomes; answer once they are on the disk."""
        now = datetime.now(UTC)
        try:
            told = checked(replies.read(request, Told), now=now)
        except ValueError as error:
            raise RefusedError(422, "invalid", str(error)) from error
        try:
            waiting = self._feedback.store(told, now=now)
            await _stored(waiting, until=request.scope[UNTIL])
        except (NoRoomError, DeviceError) as error:
            tell("feedback_not_stored", level=logging.ERROR, what=str(error))
            raise RefusedError(
                503,
                "not_stored",
                "the disk did not take it; tell it again",
                headers={"Retry-After": str(RETELL_SECONDS)},
            ) from error
        stored = Stored(len(told.events), len(told.outcomes))
        self._metrics.told.labels("events").inc(stored.events)
        self._metrics.told.labels("outcomes").inc(stored.outcomes)
        return replies.json(request, self._live.generation, **msgspec.structs.asdict(stored))

    def close(self) -> None:
        """Store what waits; nothing is asked of the service any more."""
        self._feedback.close()


async def _stored(waiting: Sequence[Future[None]], *, until: float) -> None:
    """Wait until all is on the disk.

    Raises:
        RefusedError: 504 the deadline (monotonic s) is over; it may be on the disk later.
        DeviceError, NoRoomError: the disk did not take it.
    """
    each = [asyncio.wrap_future(one) for one in waiting]
    # what is late is not called off: lines that wait together are written together
    done, others = await asyncio.wait(each, timeout=until - time.monotonic())
    for one in others:
        one.add_done_callback(_unheard)
    # that the disk did not take one says more than that another is late
    await asyncio.gather(*done)
    if others:
        raise late()


def _unheard(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        tell("feedback_not_stored", level=logging.ERROR, what=str(error))
