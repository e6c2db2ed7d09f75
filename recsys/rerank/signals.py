"""What is known of a member and a sale at the moment of a decision, and where each number is from.

All of it is as of the request: events strictly before it, sales as they stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.events import DAY, KIND_WEIGHTS, Kind
from recsys.domain.requests import Requests
from recsys.rerank.appetite import Counts
from recsys.rerank.desk import Desk
from recsys.rerank.novelty import newness
from recsys.rerank.trail import Grid, Places, Trail

PROVENANCE = {
    "taste": "inner product of the towers' vectors",
    "brand_bought": "log(1 + purchases of the brand), halved every 60 days",
    "brand_engaged": "log(1 + weighted engagements with the brand), halved every 60 days",
    "category_engaged": "log(1 + weighted engagements with the category), halved every 60 days",
    "own_engaged": "log(1 + weighted engagements with this very sale)",
    "own_bought": "log(1 + purchases of this very sale)",
    "own_recent": "log(1 + weighted engagements with this very sale), halved every 60 days",
    "own_since": "log(1 + days since the last engagement with this very sale, at most 365)",
    "price_gap": "distance of log price to the lower median of what the member engaged with",
    "new": "1 - 2^(-days since the last engagement with the brand / 180), 1 if never",
    "curated": "picked by an editor at that moment",
    "age": "log(1 + days since the sale opened)",
    "popularity": "log(1 + engagements of all members with the sale so far)",
    "popularity_day": "log(1 + engagements of all members within 24 hours)",
    "brand_popularity": "log(1 + engagements of all members with the brand so far)",
    "activity": "log(1 + the member's engagements of the last 28 days)",
    "appetite": "share of new brands foretold from what the member touched in 13 weeks",
    "recency": "log(1 + days since the member's last engagement, at most 365)",
}
"""Signal -> what it measures; the order is that of the last axis."""
NAMES = tuple(PROVENANCE)
HALF_LIFE_DAYS = 60.0
LONG_AGO_DAYS = 365.0


@dataclass(frozen=True)
class Question:
    """n requests of one group before c sales of its shelf each."""

    desk: Desk
    requests: Requests
    rows: slice
    sales: I64
    """Sale rows, I64[1, c] where all see the same, else I64[n, c]."""
    curated: np.ndarray
    """Bool of the shape of `sales`."""

    @cached_property
    def trail(self) -> Trail:
        """The members' pasts."""
        return Trail.of(self.desk.shop.history, self.requests, self.rows)

    @cached_property
    def own(self) -> Grid:
        """Look-up by sale."""
        return self._grid("own", self.sales)

    @cached_property
    def by_sale(self) -> Places:
        """Where the engagements lie in `own`."""
        return self.own.places(self.trail.row, self.trail.sale)

    @cached_property
    def maker(self) -> Grid:
        """Look-up by brand."""
        return self._grid("maker", self.desk.maker[self.sales])

    @cached_property
    def by_maker(self) -> Places:
        """Where the engagements lie in `maker`."""
        return self.maker.places(self.trail.row, self.desk.maker[self.trail.sale])

    @cached_property
    def category(self) -> Grid:
        """Look-up by category."""
        return self._grid("category", self.desk.category[self.sales])

    def _grid(self, what: str, cells: I64) -> Grid:
        if len(cells) > 1:
            return Grid.of(cells, self.trail.num)
        kept = self.desk.once(what, cells.tobytes(), lambda: Grid.of(cells, 0))
        return Grid(kept.keys, kept.of_cell, self.trail.num)

    @cached_property
    def last_bought(self) -> I64:
        """Last event in which the member bought the brand, I64[n, c], or NONE."""
        bought = self.trail.kind == Kind.PURCHASE
        return self.maker.latest(self.by_maker.of(bought), self.trail.event)

    @cached_property
    def last_engaged(self) -> I64:
        """Last event of the member with the brand, I64[n, c], or NONE."""
        return self.maker.latest(self.by_maker, self.trail.event)

    @cached_property
    def days_known(self) -> F32:
        """Days since the member last engaged with the brand, F32[n, c]; inf = never."""
        last = self.last_engaged
        days = np.full(last.shape, np.inf, dtype=np.float32)
        row, column = np.nonzero(last != NONE)
        when = self.desk.shop.history.at[last[row, column]]
        days[row, column] = (self.requests.at[self.rows][row] - when) / DAY
        return days

    @cached_property
    def touches(self) -> Counts:
        """What each member touched, n members."""
        usual, maker = self.desk.appetite, self.desk.maker
        return Counts.of(self.trail, maker, window_days=usual.window_days)

    @cached_property
    def appetite(self) -> F32:
        """The share of new brands foretold of each member, F32[n]."""
        return self.desk.appetite.share(self.touches)


def signals(question: Question, taste: F32 | None) -> F32:
    """Return all signals of NAMES, F32[n, c, len(NAMES)]; taste F32[n, c] is 0 where not given."""
    n, c = question.trail.num, question.sales.shape[1]
    values = np.zeros((n, c, len(NAMES)), dtype=np.float32)
    found = _personal(question) | _of_the_sale(question)
    if taste is not None:
        found["taste"] = taste
    for name, value in found.items():
        values[:, :, NAMES.index(name)] = value
    return values


def _personal(question: Question) -> dict[str, F32]:
    trail, desk = question.trail, question.desk
    decay = np.exp2(-trail.days / np.float32(HALF_LIFE_DAYS)).astype(np.float32)
    weight = KIND_WEIGHTS[trail.kind]
    bought = (trail.kind == Kind.PURCHASE).astype(np.float32)
    aged, category = weight * decay, desk.category[trail.sale]
    grouped, own, maker = question.category, question.own, question.maker
    by_category = grouped.sums(grouped.places(trail.row, category), aged * (category != NONE))
    recent = trail.days < 28
    latest = np.full(trail.num, LONG_AGO_DAYS, dtype=np.float32)
    np.minimum.at(latest, trail.row, trail.days)
    activity = np.bincount(trail.row[recent], minlength=trail.num)
    return {
        "brand_bought": np.log1p(maker.sums(question.by_maker, bought * decay)),
        "brand_engaged": np.log1p(maker.sums(question.by_maker, aged)),
        "category_engaged": np.log1p(by_category),
        "own_engaged": np.log1p(own.sums(question.by_sale, weight)),
        "own_bought": np.log1p(own.sums(question.by_sale, bought)),
        "own_recent": np.log1p(own.sums(question.by_sale, aged)),
        "own_since": np.log1p(_days_since_own(question)),
        "price_gap": _price_gap(question),
        "new": newness(question.days_known, soft=True),
        "activity": np.log1p(activity.astype(np.float32))[:, None],
        "appetite": question.appetite[:, None],
        "recency": np.log1p(latest)[:, None],
    }


def _days_since_own(question: Question) -> F32:
    """Return the days since the member last engaged with each sale, at most LONG_AGO_DAYS."""
    trail = question.trail
    last = question.own.latest(question.by_sale, np.arange(len(trail.row)))
    if not len(trail.row):
        return np.full(last.shape, LONG_AGO_DAYS, dtype=np.float32)
    days = np.where(last != NONE, trail.days[last], np.float32(LONG_AGO_DAYS))
    return np.minimum(days, np.float32(LONG_AGO_DAYS))


def _price_gap(question: Question) -> F32:
    """Return |log price - the member's median log price|; 0 where either is unknown."""
    trail, prices = question.trail, question.desk.log_price
    known = ~np.isnan(prices[trail.sale])
    row, price = trail.row[known], prices[trail.sale[known]]
    order = np.lexsort((price, row))
    counts = np.bincount(row, minlength=trail.num)
    middle = np.cumsum(counts) - counts + np.maximum(counts - 1, 0) // 2
    median = np.full(trail.num, np.nan, dtype=np.float32)
    some = counts > 0
    median[some] = price[order][middle[some]]
    gap = np.abs(prices[question.sales] - median[:, None])
    known_gap: F32 = np.nan_to_num(gap, nan=0.0).astype(np.float32)
    return known_gap


def _of_the_sale(question: Question) -> dict[str, F32]:
    desk, sales = question.desk, question.sales
    at = question.requests.at[question.rows][:, None]
    curated = {"curated": question.curated.astype(np.float32)}
    if len(sales) > 1 or not len(at) or (at != at[0]).any():
        return curated | _as_of(desk, sales, at)
    asked = (int(at[0, 0]), sales.tobytes())
    return curated | desk.once("as of", asked, lambda: _as_of(desk, sales, at[:1]))


def _as_of(desk: Desk, sales: I64, at: I64) -> dict[str, F32]:
    """Return how old sales I64[1, c] or I64[n, c] are at instants I64[n, 1], and how popular."""
    age = np.maximum(at - desk.shop.opens_at[sales], 0) / DAY
    wide = np.broadcast_to(sales, np.broadcast_shapes(sales.shape, at.shape)).astype(np.int32)
    makers = desk.maker[wide].astype(np.int32)
    return {
        "age": np.log1p(age).astype(np.float32),
        "popularity": np.log1p(desk.popularity.counts(wide, at)),
        "popularity_day": np.log1p(desk.popularity.counts(wide, at, DAY)),
        "brand_popularity": np.log1p(desk.maker_popularity.counts(makers, at)),
    }
