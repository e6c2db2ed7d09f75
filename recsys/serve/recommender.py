"""One bundle's slates: a member's own by the clock, the ladder below it, and why."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import structs

from recsys.campaign.arms import HOLD_OUT, Experiment, assign
from recsys.campaign.plain import for_all
from recsys.domain.arrays import NONE
from recsys.domain.shelf import Shelf
from recsys.serve.answers import Answer
from recsys.serve.bundle import Bundle
from recsys.serve.explaining import Why, absent, why
from recsys.serve.front import Front
from recsys.serve.likeness import member_row, sale_row
from recsys.serve.newcomer import Newcomer

CHUNK = 1024
"""Members decided at once."""
MOST_POLICIES = 256
"""Names of policies kept: callers may set the dial anywhere."""


class Decided(NamedTuple):
    """Slates, as they were asked for."""

    answers: list[Answer]
    known: int
    """How many of the members the bundle knows."""


class Recommender(Front):
    """Makes slates from one bundle; nothing in it changes, so any thread may ask."""

    def __init__(
        self,
        bundle: Bundle,
        clock: Callable[[], int] | None = None,
        arms: Experiment | None = None,
    ) -> None:
        """Take a bundle, the clock (UTC us) that says what is open, and an experiment that runs."""
        super().__init__(bundle, clock)
        self._arms = arms
        self._policies: dict[tuple[int, float | None, bool, bool], str] = {}
        self._plain: tuple[Hashable, Answer] | None = None

    def policy(
        self,
        slots: int,
        novelty: float | None = None,
        *,
        plain: bool = False,
        by_segment: bool = False,
    ) -> str:
        """Return what `Bundle.policy` does; asked the same again, without making it anew."""
        asked = (slots, novelty, plain, by_segment)
        name = self._policies.get(asked)
        if name is None:
            name = self.bundle.policy(slots, novelty, plain=plain, by_segment=by_segment)
            # another thread may ask meanwhile
            known = {} if len(self._policies) > MOST_POLICIES else self._policies
            self._policies = {**known, asked: name}
        return name

    def _in_arms(self, members: Sequence[str]) -> list[str | None]:
        """Return the arm of each member; None where no experiment runs."""
        if self._arms is None:
            return [None] * len(members)
        return [self._arms.groups[row] for row in assign(members, self._arms).tolist()]

    def recommend(
        self,
        members: Sequence[str],
        *,
        slots: int,
        at: int | None = None,
        novelty: float | None = None,
        exclude: Sequence[str] = (),
    ) -> list[Answer]:
        """Return one slate for each member id, in their order; an unknown member gets one too.

        `novelty` is the dial, None = as the bundle was judged; `exclude` are sales to leave out.
        An empty shelf gives empty slates; ask `shelf_at` first.
        """
        return self.decide(members, slots=slots, at=at, novelty=novelty, exclude=exclude).answers

    def decide(
        self,
        members: Sequence[str],
        *,
        slots: int,
        at: int | None,
        novelty: float | None,
        exclude: Sequence[str],
    ) -> Decided:
        """Return what `recommend` does, and how many of the members the bundle knows."""
        shelf = self.without(self.shelf_at(at), exclude)
        rows, arms = self._parts.member_ids.rows(members), self._in_arms(members)
        plain = self._for_all(shelf, slots, novelty)
        answers = [
            structs.replace(plain, member=member, arm=arm)
            for member, arm in zip(members, arms, strict=True)
        ]
        chosen = np.flatnonzero((rows != NONE) & (len(shelf) > 0))
        chosen = chosen[self._parts.personalise[rows[chosen]]]
        if self._arms is not None:
            chosen = chosen[[arms[row] != HOLD_OUT for row in chosen.tolist()]]
        own = structs.replace(
            plain, fallback="personalised", policy=self.policy(slots, novelty), sales=()
        )
        for first in range(0, len(chosen), CHUNK):
            block = chosen[first : first + CHUNK]
            slates = self._parts.slates(rows[block], shelf, slots=slots, novelty=novelty)
            placed = self._placing.slates(slates)
            for sales, asked in zip(placed, block.tolist(), strict=True):
                if sales:
                    short = len(sales) < slots
                    answers[asked] = structs.replace(
                        own, member=members[asked], arm=arms[asked], short=short, sales=sales
                    )
        return Decided(answers, int((rows != NONE).sum()))

    def welcome(
        self,
        newcomer: Newcomer,
        *,
        slots: int,
        at: int | None = None,
        novelty: float | None = None,
        exclude: Sequence[str] = (),
    ) -> Answer:
        """Return the slate of a member who is described, by what is told alone.

        A member of the bundle who has not agreed to personal slates gets none here either.

        Raises:
            SettingError: a kind, a time or a column cannot be read; the text names it.
        """
        shelf = self.without(self.shelf_at(at), exclude)
        member = newcomer.member
        row, arm = NONE, None
        if member:
            row, arm = int(self._parts.member_ids.rows([member])[0]), self._in_arms([member])[0]
        plain = structs.replace(self._for_all(shelf, slots, novelty), member=member, arm=arm)
        if row != NONE and not self._parts.personalise[row]:
            because = "the member has not agreed to slates of their own"
            return structs.replace(plain, because=because)
        if arm == HOLD_OUT:
            return structs.replace(plain, because="the member is in the hold-out")
        if not len(shelf):
            return plain
        told = self._parts.welcome([newcomer], shelf, slots=slots, novelty=novelty)
        slates, by_segment = told.slates, told.slates is None
        if by_segment:
            slates = self._parts.by_segment(newcomer, shelf, slots=slots, novelty=novelty)
        heard = told.heard[0] if told.heard else None
        sales = () if slates is None else self._placing.slates(slates)[0]
        if not sales:
            return structs.replace(plain, heard=heard, because=told.because)
        return structs.replace(
            plain,
            fallback="segment" if by_segment else "personalised",
            policy=self.policy(slots, novelty, by_segment=by_segment),
            short=len(sales) < slots,
            sales=sales,
            heard=heard,
            because=told.because,
        )

    def explain(
        self,
        member: str,
        sale: str,
        *,
        slots: int,
        at: int | None = None,
        novelty: float | None = None,
    ) -> Why:
        """Return what a sale is worth to a member, part by part, and why.

        Raises:
            UnknownMemberError, UnknownSaleError: the bundle does not hold it.
        """
        rows = member_row(self._parts, member), sale_row(self._parts, sale)
        if self._in_arms([member])[0] == HOLD_OUT:
            return absent("the member is in the hold-out")
        return why(self._parts, rows, self.shelf_at(at), slots=slots, novelty=novelty)

    def _for_all(self, shelf: Shelf, slots: int, novelty: float | None) -> Answer:
        """Return the answer to those of whom nothing may be known: editors' picks, then newest.

        The last is kept: it changes with the shelf and the rules of the house alone.
        """
        shop, house = self._parts.shop, self._parts.ranker.house
        banned = house.terms(shop, shelf, slots=slots).orders.banned
        asked = (*(part.tobytes() for part in (shelf.sales, shelf.curated, banned)), slots, novelty)
        kept = self._plain
        if kept is not None and kept[0] == asked:
            return kept[1]
        order = for_all(shop, shelf, slots=slots, banned=banned)
        places = self._placing.plain(shelf.sales[order].astype(np.int64), shelf.curated[order])
        answer = Answer(
            member="",
            fallback="curated" if shelf.curated[order].any() else "newest",
            short=len(places) < slots,
            sales=places,
            foretells=self._parts.ranker.label,
            policy=self.policy(slots, novelty, plain=True),
        )
        self._plain = asked, answer
        return answer
