"""Baselines that count: popularity of sales and brands, the member's own past."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.dataset import Dataset
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.domain.ties import uniform
from recsys.evaluate.past import columns, past, summed
from recsys.evaluate.scene import as_of, closed


@dataclass(frozen=True)
class Random:
    """Anything, but the same again for the same seed, member, instant and sale."""

    seed: int

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        sales = shelf(requests, rows)
        keys = (requests.member[rows, None], requests.at[rows, None], sales[None, :])
        return uniform(self.seed, 1, *keys).astype(np.float32)


@dataclass(frozen=True)
class Newest:
    """What opened last comes first; with `editor`, all that an editor picked before all else."""

    opens_at: I64
    editor: bool = False

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        sales = shelf(requests, rows)
        # ranks, not instants: microseconds do not fit a float32
        score = np.unique(self.opens_at[sales], return_inverse=True)[1].astype(np.float32)
        if self.editor:
            score += len(sales) * requests.curated(int(requests.group[rows.start]))
        return np.broadcast_to(score, (rows.stop - rows.start, len(sales)))


@dataclass(frozen=True)
class Popular:
    """Engagements with the sale (or with all of its brand or category) before the request."""

    popularity: Popularity
    code: I32
    """What is counted for each sale: its own row, its brand, its category, I32[num_sales]."""
    window_us: int | None = None
    unknown: int = NONE
    """The code of sales whose brand or category is not known."""

    @classmethod
    def by(cls, history: Events, code: I32) -> Popular:
        """Count by brand or category; sales whose code is NONE are counted together."""
        shut, last = closed(code)
        coded = replace(history, sale=shut[history.sale])
        return cls(Popularity.of(coded, last + 1), shut, unknown=last)

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        code, back = np.unique(self.code[shelf(requests, rows)], return_inverse=True)
        counts = as_of(self.popularity, code, requests.at[rows], window_us=self.window_us)
        return np.broadcast_to(counts[:, back], (rows.stop - rows.start, len(back)))


@dataclass(frozen=True)
class ClickRate:
    """Engagements per showing before the request, both from the first showing on record."""

    engaged: Popularity
    shown: Popularity

    @classmethod
    def of(cls, dataset: Dataset) -> ClickRate:
        """Count what was shown and what was engaged with since."""
        sale, at = (dataset.exposures[name].to_numpy() for name in ("sale", "at"))
        history = dataset.history
        since = history.at >= at.min(initial=dataset.watermark)
        return cls(
            engaged=Popularity.counting(history.sale[since], history.at[since], dataset.num_sales),
            shown=Popularity.counting(sale, at, dataset.num_sales),
        )

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]: (engaged + 1) / (shown + 10)."""
        sales, at = shelf(requests, rows), requests.at[rows]
        engaged, shown = as_of(self.engaged, sales, at), as_of(self.shown, sales, at)
        return np.broadcast_to((engaged + 1) / (shown + 10), (len(at), len(sales)))


@dataclass(frozen=True)
class BrandAffinity:
    """The member's decayed engagements with the sale's brand; equal ones by brand popularity."""

    history: Events
    half_life_us: float
    popular: Popular

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        before, code = past(self.history, requests, rows), self.popular.code
        shape = (rows.stop - rows.start, self.popular.unknown + 1)
        liking = summed((before.row, code[before.sale]), shape, before.decayed(self.half_life_us))
        # two sales without a brand do not share one
        liking[:, self.popular.unknown] = 0
        return with_fallback(liking[:, code[shelf(requests, rows)]], self.popular(requests, rows))


@dataclass(frozen=True)
class OwnCounts:
    """The member's decayed engagements with this very sale; equal ones by popularity."""

    history: Events
    half_life_us: float
    popular: Popular

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        before, sales = past(self.history, requests, rows), shelf(requests, rows)
        column = columns(sales, len(self.popular.code))[before.sale]
        here = column >= 0
        own = summed(
            (before.row[here], column[here]),
            (rows.stop - rows.start, len(sales)),
            before.decayed(self.half_life_us)[here],
        )
        return with_fallback(own, self.popular(requests, rows))


def shelf(requests: Requests, rows: slice) -> I32:
    """Return the shelf of the group that the requests `rows` belong to, I32[s]."""
    return requests.shelf(int(requests.group[rows.start]))


def with_fallback(score: F32, popular: F32) -> F32:
    """Add at most a thousandth of the scale's unit for popularity, so that it parts equals."""
    most = popular.max(axis=1, keepdims=True, initial=1.0)
    parted: F32 = (score + 1e-3 * popular / most).astype(np.float32)
    return parted
