"""Slates of the same requests under many settings in, what each costs and brings out (DECISION 9).

Expected value comes from the calibrated model; hits come from the log, which knows what members
chose of what they were shown, not how they would have reacted to these slates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from recsys.domain.arrays import F32, F64, I32, I64, NONE, Bool
from recsys.domain.report import Estimate
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import Slates
from recsys.evaluate.intervals import Draws, Means, means
from recsys.evaluate.material import DialCurve, DialPoint
from recsys.evaluate.past import columns, known, marked, past
from recsys.evaluate.scene import closed
from recsys.evaluate.scorer import Scorer

_CELLS = 4_000_000
"""Cells of the widest matrix of a chunk."""
_DRAWS, _SEED = 1_000, 0


@dataclass(frozen=True)
class Setting:
    """One setting of one way to make slates."""

    way: str
    at: float
    published: bool = False
    """These are the slates that members get."""


@dataclass(frozen=True)
class Placed:
    """What n members are shown in N places."""

    sales: I64
    """Sale rows, I64[n, N]; NONE where a slate ended."""
    appeal: F32
    """Expected value of each, F32[n, N]."""


class Trial(Protocol):
    """Slates of the same requests under several settings."""

    def shown(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Iterator[tuple[Setting, Placed]]:
        """Yield the slates of each setting for the rows of one group, always in one order.

        The first is what value kept is a share of. taste F32[n, s], unit F32[s, U].
        """
        ...


class Ranks(Protocol):
    """What makes slates."""

    def slates(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Slates:
        """Make slates for the rows of one group: taste F32[n, s], unit F32[s, U]."""
        ...


@dataclass(frozen=True)
class _Chunk:
    """n requests of one group before their shelf of s sales."""

    rows: slice
    taste: F32
    """F32[n, s]."""
    unit: F32
    """F32[s, U]."""
    where: I64
    """Column of each of all sales on the shelf, -1 elsewhere, I64[num_sales]."""
    new: Bool
    """The sale's brand is new to the member, Bool[n, s]."""
    curated: Bool
    """Bool[s]."""
    hit: Bool
    """The member engaged with the sale afterwards, Bool[n, s]."""


def sweep(
    trial: Trial,
    shop: Shop,
    requests: Requests,
    *,
    taste: Scorer,
    unit_of: Callable[[I32], F32],
) -> tuple[DialCurve, ...]:
    """Make slates for the same requests under each setting and judge them, a curve each way.

    `unit_of` gives the vectors of length 1 of sale rows I32[s], F32[s, U]. Intervals are a
    bootstrap by member whose draws all settings share; value kept is paired with the first.

    Raises:
        ValueError: no requests or no settings.
    """
    found: dict[Setting, list[F64]] = {}
    for chunk in _chunks(shop, requests, taste, unit_of=unit_of):
        tried = trial.shown(shop, requests, chunk.rows, taste=chunk.taste, unit=chunk.unit)
        for setting, slates in tried:
            found.setdefault(setting, []).append(_figures(chunk, slates))
    if not found:
        raise ValueError(f"{len(requests)} requests and {len(found)} settings to judge")
    draws = Draws.of(requests.member, _DRAWS, _SEED)
    averages = {setting: means(np.concatenate(one), draws) for setting, one in found.items()}
    first = next(iter(averages.values()))
    return tuple(
        _curve(way, {one: mean for one, mean in averages.items() if one.way == way}, first)
        for way in dict.fromkeys(setting.way for setting in averages)
    )


def slates_of(
    ranker: Ranks,
    shop: Shop,
    requests: Requests,
    *,
    taste: Scorer,
    unit_of: Callable[[I32], F32],
) -> Slates:
    """Make the slates of all requests, one row each in their order.

    Raises:
        ValueError: no requests.
    """
    made = [
        ranker.slates(
            shop,
            requests,
            rows,
            taste=taste(requests, rows),
            unit=unit_of(requests.shelf(int(requests.group[rows.start]))),
        )
        for rows in _slices(shop, requests)
    ]
    if not made:
        raise ValueError("no requests to make slates for")
    return Slates(**{
        part.name: np.concatenate([getattr(one, part.name) for one in made])
        for part in fields(Slates)
    })


def _slices(shop: Shop, requests: Requests) -> Iterator[slice]:
    """Cut the requests into slices inside one group that bound each matrix to _CELLS."""
    makers = int(max(shop.brand.max(initial=0), shop.category.max(initial=0))) + 1
    for group in range(requests.num_groups):
        rows = requests.rows(group)
        step = max(_CELLS // max(len(requests.shelf(group)), makers), 1)
        for first in range(rows.start, rows.stop, step):
            yield slice(first, min(first + step, rows.stop))


def _chunks(
    shop: Shop, requests: Requests, taste: Scorer, *, unit_of: Callable[[I32], F32]
) -> Iterator[_Chunk]:
    brands = bool((shop.brand != NONE).any())
    maker = closed(shop.brand if brands else shop.category)
    for rows in _slices(shop, requests):
        group = int(requests.group[rows.start])
        sales = requests.shelf(group)
        where = columns(sales, shop.num_sales)
        yield _Chunk(
            rows=rows,
            taste=taste(requests, rows),
            unit=unit_of(sales),
            where=where,
            new=~known(
                past(shop.history, requests, rows), sales, maker=maker, num=rows.stop - rows.start
            ),
            curated=requests.curated(group),
            hit=_hit(requests, rows, where, width=len(sales)),
        )


def _hit(requests: Requests, rows: slice, where: I64, *, width: int) -> Bool:
    ptr = requests.target_ptr[rows.start : rows.stop + 1]
    row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    return marked((row, where[requests.target_sale[ptr[0] : ptr[-1]]]), (len(ptr) - 1, width))


def _figures(chunk: _Chunk, slates: Placed) -> F64:
    """Return the figures of `_curve` for each slate, F64[n, 7]."""
    filled = slates.sales != NONE
    column = np.where(filled, chunk.where[slates.sales], 0)
    row = np.arange(len(column))[:, None]
    new, hit = chunk.new[row, column] & filled, chunk.hit[row, column] & filled
    curated = chunk.curated[column] & filled
    return np.stack(
        [
            np.where(filled, slates.appeal, 0.0).sum(axis=1, dtype=np.float64),
            hit.sum(axis=1),
            _share(new, filled),
            (new & hit).sum(axis=1),
            _share(curated, filled),
            curated.any(axis=1),
            _unlike(chunk.unit[column], filled),
        ],
        axis=1,
    )


def _share(marks: Bool, filled: Bool) -> F64:
    return _ratio(marks.sum(axis=1), filled.sum(axis=1))


def _unlike(unit: F32, filled: Bool) -> F64:
    """Average 1 - cosine over the pairs of each slate F32[n, k, U], F64[n]; NaN below two."""
    shown = np.where(filled[:, :, None], unit, 0.0).astype(np.float64)
    total, count = shown.sum(axis=1), filled.sum(axis=1)
    pairs = count * (count - 1)
    alike = (total**2).sum(axis=1) - (shown**2).sum(axis=(1, 2))
    return 1 - _ratio(alike, pairs)


def _ratio(above: F64 | I64, below: I64) -> F64:
    empty = np.full(len(below), np.nan, dtype=np.float64)
    return np.divide(above, below, out=empty, where=below > 0)


def _curve(way: str, found: dict[Setting, Means], first: Means) -> DialCurve:
    ordered = sorted(found.items(), key=lambda one: one[0].at)
    return DialCurve(
        way=way,
        points=tuple(_point(setting.at, mean, first) for setting, mean in ordered),
        now=next((setting.at for setting in found if setting.published), None),
    )


def _point(dial: float, mean: Means, first: Means) -> DialPoint:
    value, hits, share, new_hits, curated, reach, ild = mean.estimates()
    return DialPoint(
        dial=dial,
        value=value,
        value_kept=_kept(mean, first),
        hits=hits,
        discovery_share=share,
        discovery_hits=new_hits,
        curated_share=curated,
        curated_reach=reach,
        ild=ild,
    )


def _kept(mean: Means, first: Means) -> Estimate:
    """Return the value of a setting as a share of the first one's, draw by draw."""
    drawn = mean.sample[:, 0] / first.sample[:, 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    share = float(mean.value[0] / first.value[0])
    ends = (min(float(low), share), max(float(high), share))
    return Estimate(value=share, low=ends[0], high=ends[1], n=int(mean.n[0]))
