"""The routes that answer with slates, and with what a slate was made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from recsys.domain.clock import us_of
from recsys.serve import replies
from recsys.serve.answers import MAX_PLACES, Answer
from recsys.serve.asks import Ask, AskMany, AskWhy
from recsys.serve.explaining import Why
from recsys.serve.front import iso
from recsys.serve.guard import Guard
from recsys.serve.limits import UNTIL, alone, in_time
from recsys.serve.live import Live
from recsys.serve.metrics import Metrics
from recsys.serve.newcomer import Newcomer
from recsys.serve.recommender import Recommender
from recsys.serve.refusal import RefusedError
from recsys.serve.spec import Serve
from recsys.serve.turns import Kind, Turns

Q = TypeVar("Q")
A = TypeVar("A")

BLOCK = 64
"""Members decided at once; between blocks other requests get their turn."""
PLACES = 1024
"""Places filled at once for callers who ask for one slate each, unless one slate has more."""
RETRY_SECONDS = 3600
"""Retry-After where no opening is known."""


@dataclass(frozen=True)
class Way:
    """How slates are wanted: of one generation, as of one instant."""

    generation: Recommender
    at: int
    """UTC us."""
    slots: int
    novelty: float | None
    exclude: tuple[str, ...]

    @property
    def said(self) -> dict[str, str]:
        """What every answer says of it."""
        return {"at": iso(self.at)}


class Slating:
    """Makes slates, one or many."""

    def __init__(
        self, live: Live[Recommender], spec: Serve, *, guard: Guard, metrics: Metrics, turns: Turns
    ) -> None:
        """Answer from the living generation; who asks for one slate waits for a turn."""
        self._live, self._spec, self._turns = live, spec, turns
        self._guard, self._metrics = guard, metrics

    async def recommend(self, request: Request) -> Response:
        """Answer with the slate of one member, known by an id or by what is told of them."""
        asked = replies.read(request, Ask)
        way = self._way(asked)
        told = asked.history is not None or asked.features is not None
        if not asked.member and not told:
            raise RefusedError(422, "invalid", "name a member, or tell history or features")
        if not told:
            slate = await self._one_of_many(request, way, asked.member)
            return _one(request, way, slate, channel=asked.channel)
        newcomer = Newcomer(asked.history or (), asked.features or {}, asked.member)
        kind = ("newcomer", way.generation)
        slate = await self._in_turn(request, kind, (way, newcomer), answer=_new)
        self._count([slate])
        return _one(request, way, slate, channel=asked.channel)

    async def recommend_by_query(self, request: Request) -> Response:
        """Answer a browser on this machine; elsewhere an id in an address ends up in logs."""
        member = request.query_params.get("member", "")
        slots = request.query_params.get("slots", str(self._spec.slots))
        if not 1 <= len(member) <= 256 or not slots.isdecimal() or len(slots) > len("1000"):
            raise RefusedError(422, "invalid", "ask for ?member=ID, and &slots=NUMBER if you like")
        if not 1 <= int(slots) <= MAX_PLACES:
            raise RefusedError(422, "invalid", f"slots is a number from 1 to {MAX_PLACES}")
        way = self._way(Ask(slots=int(slots)))
        slate = await self._one_of_many(request, way, member)
        return _one(request, way, slate, channel="other")

    async def batch(self, request: Request) -> Response:
        """Answer with the slates of many members as of one instant, in blocks."""
        asked = replies.read(request, AskMany)
        self._guard.charge(request.scope, len(asked.members) - 1)
        way = self._way(asked)
        slates: list[Answer] = []
        block = _together(way)
        for first in range(0, len(asked.members), block):
            in_time(request)
            slates += self._slates(way, asked.members[first : first + block])
            await asyncio.sleep(0)
        return replies.json(
            request, way.generation, **way.said, channel=asked.channel, slates=slates
        )

    async def explain(self, request: Request) -> Response:
        """Answer with what a sale is worth to a member, part by part, and why."""
        asked = replies.read(request, AskWhy)
        way = self._way(asked)
        with replies.refusing():
            kind = ("why", way.generation)
            why = await self._in_turn(request, kind, (way, asked), answer=_why)
        return replies.json(
            request,
            way.generation,
            **way.said,
            policy=way.generation.policy(way.slots, way.novelty),
            member=asked.member,
            sale=asked.sale,
            **msgspec.structs.asdict(why),
        )

    async def _one_of_many(self, request: Request, way: Way, member: str) -> Answer:
        """Return a member's slate, made together with those that others ask for in the same way."""
        kind = Kind(way, partial(self._slates, way), _together(way))
        until = request.scope[UNTIL]
        return await self._turns.ask(kind, member, until=until, alone=alone(request))

    async def _in_turn(
        self, request: Request, kind: Hashable, question: Q, *, answer: Callable[[Q], A]
    ) -> A:
        """Return the answer to a question that is answered by itself, once its turn comes."""
        alike = Kind[Q, A](kind, lambda asked: [answer(asked[0])], 1)
        until = request.scope[UNTIL]
        return await self._turns.ask(alike, question, until=until, alone=alone(request))

    def _slates(self, way: Way, members: Sequence[str]) -> list[Answer]:
        slates, known = way.generation.decide(
            members, slots=way.slots, at=way.at, novelty=way.novelty, exclude=way.exclude
        )
        self._count(slates)
        self._metrics.unknown.inc(len(members) - known)
        return slates

    def _count(self, slates: Sequence[Answer]) -> None:
        for slate in slates:
            self._metrics.fallback.labels(slate.fallback).inc()
        self._metrics.short.inc(sum(slate.short for slate in slates))

    def _way(self, asked: Ask | AskMany | AskWhy) -> Way:
        """Return how slates are wanted; an empty shelf is refused, never an empty slate."""
        generation = self._live.generation
        at = generation.moment() if asked.at is None else _us(asked.at)
        if not len(generation.shelf_at(at)):
            raise _closed(generation, at)
        slots = self._spec.slots if asked.slots is None else asked.slots
        exclude = () if isinstance(asked, AskWhy) else asked.exclude
        return Way(generation, at, slots, asked.novelty, exclude)


def _new(asked: tuple[Way, Newcomer]) -> Answer:
    way, newcomer = asked
    return way.generation.welcome(
        newcomer, slots=way.slots, at=way.at, novelty=way.novelty, exclude=way.exclude
    )


def _why(asked: tuple[Way, AskWhy]) -> Why:
    way, about = asked
    return way.generation.explain(
        about.member, about.sale, slots=way.slots, at=way.at, novelty=way.novelty
    )


def _one(request: Request, way: Way, slate: Answer, *, channel: str) -> Response:
    said = {**way.said, "channel": channel, **msgspec.structs.asdict(slate)}
    return replies.json(request, way.generation, **said)


def _together(way: Way) -> int:
    """Return how many slates are made at once: others wait no longer for long ones."""
    return max(1, min(BLOCK, PLACES // way.slots))


def _us(at: datetime) -> int:
    try:
        return us_of(at.astimezone(UTC))
    except OverflowError as error:
        said = "at lies before the year 1, or beyond 9999, in UTC"
        raise RefusedError(422, "invalid", said) from error


def _closed(generation: Recommender, at: int) -> RefusedError:
    opening = generation.next_opening(at)
    wait = RETRY_SECONDS if opening is None else max(1, -((at - opening) // 1_000_000))
    when = "none is known to open" if opening is None else f"the next opens at {iso(opening)}"
    return RefusedError(
        503,
        "shelf_empty",
        f"no sale is open at {iso(at)}; {when}",
        headers={"Retry-After": str(wait)},
    )
