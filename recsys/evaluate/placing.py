"""All figures of one scorer or of slates on one scene, request by request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE, Bool
from recsys.evaluate.metrics import Shown, ild, mix_kl, ordering, ranking
from recsys.evaluate.ranking import Order, keys
from recsys.evaluate.scene import COMPLEMENTS, Scene


@dataclass(frozen=True)
class Figures:
    """n requests: slice -> figure -> F64[n], NaN where a request does not define it."""

    slices: Mapping[str, Mapping[str, F64]]
    """"all" and, where asked for, the slices by sale."""
    top: I64
    """Sale rows of the list, best first, padded with NONE, I64[n, k]."""


def of_scores(now: Scene, scores: F32, ks: Sequence[int], *, by_sale: bool = True) -> Figures:
    """Judge scores F32[n, s] at each length of ks; what is hidden comes last and fills no place.

    Raises:
        ValueError: the scores have another shape than the shelf, or are not numbers.
    """
    if now.hidden is not None:
        scores = np.where(now.hidden, np.float32(-np.inf), scores)
    order = Order.of(keys(scores, now.ties), now.target)
    everything = order.ahead()
    size = now.count(np.ones((1, len(now.sales)), dtype=np.bool_))
    slices = {
        "all": ranking(now.relevant, everything.rank, ks)
        | ordering(now.relevant, everything.halfway, everything.rank, pool=size)
    }
    for name, pool in now.pools.items() if by_sale else ():
        inside, count = _at_targets(pool, now), now.count(pool)
        part = order.ahead(pool)
        rest = everything.less(part)
        for where, standing, keep, sales in (
            (name, part, inside, count),
            (COMPLEMENTS[name], rest, ~inside, size - count),
        ):
            relevant, rank = now.relevant.where(keep), standing.rank[keep]
            slices[where] = ranking(relevant, rank, ks) | ordering(
                relevant, standing.halfway[keep], rank, pool=sales
            )
    column = order.best(max(ks))
    shown = Shown(column, _candidates(now, column))
    slices["all"] |= _beyond(now, shown, everything.rank, ks=ks)
    return Figures(slices, np.where(shown.filled, now.sales[column].astype(np.int64), NONE))


def of_slate(now: Scene, slate: I64, *, by_sale: bool = True) -> Figures:
    """Judge slates I64[n, k] of sale rows, padded with NONE, at their own length."""
    column = np.where(slate == NONE, NONE, now.where[slate])
    shown = Shown(column, column != NONE)
    ks = (slate.shape[1],)
    rank = _places(now, shown, shown.filled)
    slices = {"all": ranking(now.relevant, rank, ks) | _beyond(now, shown, rank, ks=ks)}
    for name, pool in now.pools.items() if by_sale else ():
        inside, held = _at_targets(pool, now), shown.take(pool).astype(np.bool_)
        for where, keep, places in (
            (name, inside, held & shown.filled),
            (COMPLEMENTS[name], ~inside, ~held & shown.filled),
        ):
            slices[where] = ranking(now.relevant.where(keep), _places(now, shown, places)[keep], ks)
    return Figures(slices, slate.astype(np.int64))


def _beyond(now: Scene, shown: Shown, rank: F64, *, ks: Sequence[int]) -> dict[str, F64]:
    fresh = now.relevant.where(_at_targets(now.new, now))
    fresh_rank = rank[_at_targets(now.new, now)]
    figures: dict[str, F64] = {}
    for k in ks:
        first = shown.first(k)
        figures |= {
            f"ild_at_{k}": ild(first, now.vectors),
            f"discovery_rate_at_{k}": first.mean(now.new),
            f"discovery_hits_at_{k}": fresh.total(fresh_rank <= k),
            f"mix_kl_at_{k}": mix_kl(first, now.kinds, now.own_mix),
            f"popularity_percentile_at_{k}": first.mean(now.percentile),
            f"curated_share_at_{k}": first.mean(now.pools["curated"]),
        }
    return figures


def _at_targets(pool: Bool, now: Scene) -> Bool:
    row, column = now.target
    return pool[row if len(pool) > 1 else np.zeros_like(row), column]


def _candidates(now: Scene, column: I64) -> Bool:
    if now.hidden is None:
        return np.ones(column.shape, dtype=np.bool_)
    candidates: Bool = ~np.take_along_axis(now.hidden, column, axis=1)
    return candidates


def _places(now: Scene, shown: Shown, places: Bool) -> F64:
    """Return each target's place among the places that count, F64[t]; inf where not shown."""
    row, column = now.target
    found = (shown.column[row] == column[:, None]) & places[row]
    place = np.cumsum(places, axis=1)[row, found.argmax(axis=1)]
    return np.where(found.any(axis=1), place, np.inf)
