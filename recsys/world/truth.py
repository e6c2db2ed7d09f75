"""The truth on tap: what a sale would bring if it were shown, which no log can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.world.clock import weekday
from recsys.world.habits import VISIT_HOURS
from recsys.world.retailer import Offer, World, offer
from recsys.world.state import SLOTS, State
from recsys.world.utility import MAIL, PAGE, cart_log_odds, chance, purchase_log_odds, utility

What = Literal["engage", "click", "purchase", "margin"]
CHUNK = 4_096
"""Members whose cells are held at a time."""
SHOP_ID = "shop:k"
"""How ids of shop customers begin when no member claims them."""


@dataclass(frozen=True)
class Truth:
    """Expected outcomes at any instant of a played past.

    engage    chance of a view before the sale closes, at one look a day
    click     chance of a click if it is looked at in a mail
    purchase  chance of a purchase before the sale closes, at one look a day, stock permitting
    margin    euros that this purchase leaves to the shop, expected
    """

    world: World
    states: tuple[State, ...]
    """The state at each noon that was played."""

    def scores(
        self,
        member_ids: Sequence[str] | np.ndarray,
        sale_ids: Sequence[str] | np.ndarray,
        at: int,
        *,
        visible: bool = False,
        what: What = "engage",
    ) -> F32:
        """Return expected outcomes of members before sales at an instant (UTC us), F32[m, s].

        visible: leave hidden quality and hidden appeal out, which nobody could know.

        Raises:
            UnknownMemberError, UnknownSaleError: an id is not of this world.
        """
        members, sales = self.member_rows(member_ids), self.sale_rows(sale_ids)
        order = np.argsort(sales, kind="stable")
        today = offer(self.world, sales[order], at=at, visible=visible)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        scores = np.empty((len(members), len(sales)), dtype=np.float32)
        for first in range(0, len(members), CHUNK):
            rows = slice(first, first + CHUNK)
            scores[rows] = self.expected(members[rows], today, what=what)[:, back]
        return scores

    def expected(self, members: I64, today: Offer, *, what: What) -> F32:
        """Return expected outcomes of member rows before an offer, F32[m, s]."""
        state = self.states[min(max(today.day, 0), len(self.states) - 1)]
        liked = utility(self.world, state, today, rows=members)
        if what == "click":
            return chance(liked - np.float32(MAIL))
        missed = 1 - chance(liked - np.float32(PAGE))
        engaged = 1 - missed ** _days_left(self.world, today)
        if what == "engage":
            return engaged
        phone = self.world.members.phone[members][:, None]
        on_phone = chance(purchase_log_odds(liked, np.ones(1, dtype=np.float32)))
        at_desk = chance(purchase_log_odds(liked, np.zeros(1, dtype=np.float32)))
        buys = chance(cart_log_odds(liked)) * (phone * on_phone + (1 - phone) * at_desk)
        purchased = engaged * buys
        if what == "purchase":
            return purchased
        sales = self.world.sales
        worth: F32 = (sales.price * sales.margin_share)[today.rows].astype(np.float32)
        return purchased * worth

    def oracle(
        self,
        member_ids: Sequence[str] | np.ndarray,
        sale_ids: Sequence[str] | np.ndarray,
        at: int,
        *,
        slots: int = SLOTS,
        what: What = "purchase",
    ) -> I64:
        """Return the best slates if everything is known: places in `sale_ids`, I64[m, slots]."""
        return _best(self.scores(member_ids, sale_ids, at, what=what), slots)

    def visible_oracle(
        self,
        member_ids: Sequence[str] | np.ndarray,
        sale_ids: Sequence[str] | np.ndarray,
        at: int,
        *,
        slots: int = SLOTS,
        what: What = "purchase",
    ) -> I64:
        """Return the best slates if all but hidden quality is known, I64[m, slots]."""
        return _best(self.scores(member_ids, sale_ids, at, visible=True, what=what), slots)

    @cached_property
    def styles(self) -> F32:
        """The planted style of each sale, F32[sales, 16]."""
        return self.world.sales.style

    def member_rows(self, ids: Sequence[str] | np.ndarray) -> I64:
        """Turn ids of members, or of shop customers nobody claims, into rows of this world, I64[m].

        Raises:
            UnknownMemberError: an id is not of this world.
        """
        texts = np.asarray(ids, dtype=np.str_)
        rows = _rows(texts, letter="m")
        others = np.flatnonzero(rows < 0)
        rows[others] = _shop_rows(texts[others])
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.world.members):
            raise UnknownMemberError(
                "an id is no member of this world",
                f"ids run from m000000 to m{len(self.world.members) - 1:06d}",
                "use the truth of the world that made the data: the same size, seed and days",
            )
        return rows

    def sale_rows(self, ids: Sequence[str] | np.ndarray) -> I64:
        """Turn sale ids into rows of this world, I64[s].

        Raises:
            UnknownSaleError: an id is not of this world.
        """
        rows = _rows(ids, letter="s")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.world.sales):
            raise UnknownSaleError(
                "an id is no sale of this world",
                f"ids run from s00000 to s{len(self.world.sales) - 1:05d}",
                "use the truth of the world that made the data: the same size, seed and days",
            )
        return rows


def _rows(ids: Sequence[str] | np.ndarray, *, letter: str) -> I64:
    """Read the number behind the letter of each id; -1 where it is not of this form."""
    texts = np.asarray(ids, dtype=np.str_)
    if not len(texts):
        return np.zeros(0, dtype=np.int64)
    digits = np.strings.lstrip(texts, letter)
    fine = np.strings.startswith(texts, letter) & np.strings.isdigit(digits)
    return np.where(fine, digits, "-1").astype(np.int64)


def _shop_rows(texts: np.ndarray) -> I64:
    """Read ids like shop:k240000, as the data contract writes ids that no member claims.

    The digits are the member's, backwards; -1 where an id is not of this form.
    """
    digits = np.array([text.removeprefix(SHOP_ID)[::-1] for text in texts.tolist()], dtype=np.str_)
    fine = np.strings.startswith(texts, SHOP_ID) & np.strings.isdigit(digits)
    return np.where(fine, digits, "-1").astype(np.int64)


def _days_left(world: World, today: Offer) -> F32:
    """Return how many days' worth of visits lie before each sale's closing, F32[s]."""
    table = VISIT_HOURS[weekday(today.day) > 4]
    noon, end = world.noon(today.day), world.noon(today.day + 1)

    def mass(at: I64) -> F64:
        parts = (at - noon) / (end - noon)
        whole: F64 = np.floor(parts)
        shares = np.arange(len(table)) / (len(table) - 1)
        return whole + np.interp(parts - whole, table, shares)

    closing = today.at + np.maximum(today.closes_in, 0)
    days: F32 = (mass(closing) - mass(np.array([today.at]))).astype(np.float32)
    return days


def _best(scores: F32, slots: int) -> I64:
    """Return the columns of the highest scores, best first, padded with NONE, I64[m, slots]."""
    best = np.full((len(scores), slots), NONE, dtype=np.int64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :slots]
    best[:, : order.shape[1]] = order
    return best
