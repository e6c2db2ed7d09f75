"""The route that answers with sales or members by likeness."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import Request, Response

from recsys.serve import replies
from recsys.serve.answers import Alike, Near
from recsys.serve.asks import AskSimilar
from recsys.serve.front import iso
from recsys.serve.limits import UNTIL, alone
from recsys.serve.live import Live
from recsys.serve.recommender import Recommender
from recsys.serve.turns import Kind, Turns


class Searching:
    """Finds what is near, many at once where that finds the same."""

    def __init__(self, live: Live[Recommender], turns: Turns) -> None:
        """Answer from the living generation; what takes long waits for a turn in a thread."""
        self._live, self._turns = live, turns

    async def similar(self, request: Request) -> Response:
        """Answer with the sales nearest to a member, a sale or a vector, or members like one."""
        asked = replies.read(request, AskSimilar)
        generation, until = self._live.generation, request.scope[UNTIL]
        at = generation.moment()
        with replies.refusing():
            if asked.of == "members":
                # all members are compared: others do not wait for it
                members = Kind((generation, "members"), partial(_alike, generation), 1, apart=True)
                alike = await self._turns.ask(members, asked, until=until)
                return replies.json(request, generation, at=iso(at), members=alike)
            found = await self._found(request, generation, asked, at=at)
        return replies.json(request, generation, at=iso(at), sales=found)

    async def _found(
        self, request: Request, generation: Recommender, asked: AskSimilar, *, at: int
    ) -> list[Near]:
        until = request.scope[UNTIL]
        if not generation.takes_long(asked):
            return generation.similar(asked, at=at)
        one = generation.sought(asked)
        if one is None:
            single = Kind((generation, at), partial(_similar, generation, at), 1, apart=True)
            return await self._turns.ask(single, asked, until=until)
        together = Kind(
            (generation, "near", one.rows),
            generation.nearest,
            apart=True,
            alone_here=generation.brief,
        )
        found = await self._turns.ask(together, one, until=until, alone=alone(request))
        return generation.near(found, at=at)


def _alike(generation: Recommender, asked: Sequence[AskSimilar]) -> list[list[Alike]]:
    return [generation.alike(one) for one in asked]


def _similar(generation: Recommender, at: int, asked: Sequence[AskSimilar]) -> list[list[Near]]:
    return [generation.similar(one, at=at) for one in asked]
