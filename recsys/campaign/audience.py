"""Everyone's slates, streamed in chunks of members, and who will see each sale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from recsys.campaign.keys import Ids, keys_of
from recsys.data.asof import history_end
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import Slates
from recsys.rerank.ranker import Ranker


@dataclass(frozen=True)
class Audience:
    """Members before one shelf, and how to score them."""

    shop: Shop
    at: int
    """UTC us: the shelf's instant; pasts end before it."""
    members: I32
    """Rows, I32[m]."""
    taste_of: Callable[[I32], F32]
    """Member rows I32[k] -> scores F32[k, s] over the shelf at `at`."""
    unit: F32
    """Vectors of length 1 of the shelf's sales, F32[s, U]."""


def slates_for_all(ranker: Ranker, audience: Audience, *, chunk: int = 1024) -> Iterator[Slates]:
    """Yield the slates of all members in their order, at most `chunk` a time.

    Memory is bounded by the chunk and the shelf, not by the audience.
    """
    for requests in asked(audience, chunk=chunk):
        yield ranker.slates(
            audience.shop,
            requests,
            requests.rows(0),
            taste=audience.taste_of(requests.member),
            unit=audience.unit,
        )


def asked(audience: Audience, *, chunk: int) -> Iterator[Requests]:
    """Yield the requests of all members in their order, one group of at most `chunk` a time."""
    shelf = audience.shop.shelf(audience.at)
    for first in range(0, len(audience.members), chunk):
        members = audience.members[first : first + chunk]
        end = history_end(audience.shop.history, members, np.array(audience.at))
        yield Requests.now(members, shelf, end)


def shard_of(ids: Ids, shards: int) -> I64:
    """Return the shard of each member, I64[n], by the id alone: whoever else is asked about."""
    found: I64 = (keys_of(ids) % np.uint64(shards)).astype(np.int64)
    return found


def reach(slates: Slates, num_sales: int) -> I64:
    """Count the members who have each sale on their slate, I64[num_sales]."""
    shown = slates.sales[slates.sales != NONE]
    return np.bincount(shown, minlength=num_sales)
