"""Questions that wait are answered together, in turns; of one that is alone nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from recsys.serve.refusal import late, overloaded

Q = TypeVar("Q")
A = TypeVar("A")

TOGETHER = 64
"""Questions answered at once, at most."""
CERTAIN = 0.5
"""Share of a deadline that the wait may fill by the pace so far; who would wait longer is refused
at once rather than late."""
SLOW = 0.2
"""Weight of what was answered last in the pace."""


@dataclass(frozen=True)
class Kind(Generic[Q, A]):
    """Questions that can be answered together."""

    key: Hashable
    """The same for all of them."""
    answer: Callable[[Sequence[Q]], Sequence[A]]
    """Questions in, an answer for each out, the same whatever else is among them."""
    most: int = TOGETHER
    """How many are answered at once."""
    apart: bool = False
    """Long enough for a thread of its own; the loop goes on meanwhile."""
    alone_here: bool = False
    """Even so, one alone is answered in the loop: sooner than it would be handed over."""


@dataclass(frozen=True)
class _Asked:
    question: Any
    answered: asyncio.Future[Any]
    until: float


class Turns:
    """The queue before all that is answered together; it belongs to one event loop.

    What arrives while others are answered waits, and then goes together. Kinds take turns, so
    that many questions of one do not keep another waiting.
    """

    def __init__(self, bound: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let at most `bound` questions wait; `clock` (seconds) says whose deadline is over."""
        self._bound, self._clock = bound, clock
        self._kinds: dict[Hashable, tuple[Kind[Any, Any], deque[_Asked]]] = {}
        self._scheduled = self._searching = False
        # of the loop (False) and of the thread (True): neither is slow because the other is
        self._pace = {False: 0.0, True: 0.0}  # seconds a question
        self._since = {False: 0.0, True: 0.0}  # last answers, or the first since nobody waited
        self._depth = {False: 0, True: 0}  # questions not yet begun
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self.waiting = 0
        """Questions not yet begun."""

    async def ask(self, kind: Kind[Q, A], question: Q, *, until: float, alone: bool = False) -> A:
        """Return the answer to a question once its turn comes: now, if it is known to be alone.

        Raises:
            RefusedError: 503 too many wait already; 504 its deadline `until` is over.
        """
        here = kind.alone_here or not kind.apart
        if alone and here and not self.waiting and not self._searching and self._clock() < until:
            return kind.answer([question])[0]
        likely = self._depth[kind.apart] * self._pace[kind.apart]
        if self.waiting >= self._bound or likely > CERTAIN * (until - self._clock()) > 0:
            raise overloaded(f"{self.waiting} requests wait already; ask again later, or elsewhere")
        loop = asyncio.get_running_loop()
        asked = _Asked(question, loop.create_future(), until)
        _, queue = self._kinds.setdefault(kind.key, (kind, deque()))
        queue.append(asked)
        if not self._depth[kind.apart] and not (kind.apart and self._searching):
            self._since[kind.apart] = self._clock()
        self.waiting += 1
        self._depth[kind.apart] += 1
        self._soon(loop)
        if not kind.apart:
            return cast("A", await asked.answered)
        # the thread may be busy for longer than this one can wait
        bell = loop.call_at(loop.time() + until - self._clock(), _late, asked)
        try:
            return cast("A", await asked.answered)
        finally:
            bell.cancel()

    def close(self) -> None:
        """End the thread; nothing is asked any more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer once all that has arrived by now is in the queue."""
        if self.waiting and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        kind = self._next()
        if kind is None:
            return  # the thread is busy, and schedules the next turn when it is done
        together = self._taken(kind)
        if together and kind.apart and not (kind.alone_here and len(together) == 1):
            self._searching = True
            work = loop.run_in_executor(self._thread, kind.answer, _questions(together))
            work.add_done_callback(lambda done: self._searched(loop, together, done))
        elif together:
            _tell(together, lambda: kind.answer(_questions(together)))
            self._took(len(together), apart=kind.apart)
        self._soon(loop)

    def _searched(
        self,
        loop: asyncio.AbstractEventLoop,
        together: Sequence[_Asked],
        done: asyncio.Future[Sequence[Any]],
    ) -> None:
        self._searching = False
        _tell(together, done.result)
        self._took(len(together), apart=True)
        self._soon(loop)

    def _took(self, num: int, *, apart: bool) -> None:
        """Learn the pace: what the loop had to do between two answers counts."""
        now = self._clock()
        self._pace[apart] += SLOW * ((now - self._since[apart]) / num - self._pace[apart])
        self._since[apart] = now

    def _next(self) -> Kind[Any, Any] | None:
        """Return the kind that has waited longest for its turn, of those that can be answered."""
        for kind, _ in self._kinds.values():
            if not (kind.apart and self._searching):
                return kind
        return None

    def _taken(self, kind: Kind[Any, Any]) -> list[_Asked]:
        """Take those whose turn it is; who waited beyond the deadline is told so."""
        _, queue = self._kinds.pop(kind.key)
        taken = [queue.popleft() for _ in range(min(kind.most, len(queue)))]
        if queue:
            self._kinds[kind.key] = (kind, queue)  # behind the others
        self.waiting -= len(taken)
        self._depth[kind.apart] -= len(taken)
        now = self._clock()
        for asked in taken:
            if asked.until <= now:
                _late(asked)
        return [asked for asked in taken if not asked.answered.done()]


def _questions(together: Sequence[_Asked]) -> list[Any]:
    return [asked.question for asked in together]


def _tell(together: Sequence[_Asked], answers: Callable[[], Sequence[Any]]) -> None:
    """Give each its answer, or all of them the reason why there is none."""
    try:
        told = answers()
    except Exception as error:  # ruff: ignore[blind-except]  # whoever asked is told
        for asked in together:
            if not asked.answered.done():
                asked.answered.set_exception(error)
        return
    for asked, answer in zip(together, told, strict=True):
        if not asked.answered.done():
            asked.answered.set_result(answer)


def _late(asked: _Asked) -> None:
    if not asked.answered.done():
        asked.answered.set_exception(late())
