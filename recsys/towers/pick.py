"""The k best sales of each member: sifted, scored, certified; in doubt, looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.errors import SettingError
from recsys.towers.offer import Filters, Offer
from recsys.towers.sieve import Sieve, quiet, scores_at
from recsys.towers.twolevel import Deal, Kept, TwoLevel, Way, Work, ranked, read

TILE_BYTES = 5 << 19
"""Scores of a tile, 2.5 MB: the product writes them, and they are read from the cache."""
PAIRS = 1 << 18
"""Pairs scored at once where every sale is."""
DOUBT = 1 / 3
"""A bfloat16 sieve that leaves more members than this in doubt costs more than it saves."""


def roomy(k: int) -> int:
    """Return how many columns to keep for k: a bfloat16 sieve blurs the order of some."""
    return k + k // 3 + 4


@dataclass(frozen=True)
class Plan:
    """How members are searched."""

    k: int
    exact: bool
    """Else the sieve's own scores are the answer."""
    low: bool
    """A bfloat16 sieve comes first."""
    way: Way
    tile: int = 0
    """Members of one product; 0 is as many as the cache holds."""
    rows: int = 1_024
    """Members chosen for at once: each call of torch costs as much as some members."""


@dataclass(frozen=True)
class Sifted:
    """What all threads share."""

    offer: Offer
    sieves: Mapping[bool, Sieve]
    """In bfloat16 (True) or float32; none where there are so few sales that all are scored."""

    @classmethod
    def of(cls, offer: Offer, plan: Plan) -> Sifted:
        """Make the sieves that a plan needs."""
        k = min(plan.k, len(offer))
        if not k or (plan.exact and len(offer) < 4 * roomy(k)):
            return cls(offer, {})
        kinds = [True] * plan.low + [False] * plan.exact
        deal = Deal.of(len(offer), k)
        return cls(offer, {low: Sieve(offer.vectors, deal, low=low) for low in kinds})


@dataclass(frozen=True)
class Screen:
    """A sieve, what it writes into, and who chooses by it."""

    sieve: Sieve
    level: TwoLevel
    tile: Tensor
    """Room for scores [t, places]."""


Found: TypeAlias = tuple[Tensor, Tensor]
"""Keys I64[t, k] as `ranked` gives them, and of which rows they are certain, Bool[t]."""
Room: TypeAlias = tuple[Callable[[Tensor, I64], Found], int]
"""Members F32[t, d] and their rows -> what was found; how many members at once."""


class Picker:
    """One thread's buffers, and the rooms in which it looks: a small one first, the last is all."""

    def __init__(self, sifted: Sifted, plan: Plan, *, members: F32, filters: Filters) -> None:
        """Take what is on offer, and the audience."""
        self.offer, self.sieves, self.plan = sifted.offer, sifted.sieves, plan
        self.members, self.filters = members, filters
        self.k = min(plan.k, len(self.offer))
        self.device = self.offer.vectors.device
        self.rooms: list[Room] = [(self._everywhere, max(1, PAIRS // max(1, len(self.offer))))]
        self._rows, self._blurs = max(plan.tile, plan.rows), plan.exact and True in self.sieves
        if self.sieves:
            self.rooms = self._narrow()
        quiet()

    def _narrow(self) -> list[Room]:
        """Return rooms in which not every sale is scored, and that of all where it is needed."""
        k, low = self.k, self.plan.low
        if self.plan.exact:
            sizes = [(roomy(k), low), (roomy(k), False), (4 * k, False)][not low :]
            looks = [partial(self._certified, self._screen(kept, low=low)) for kept, low in sizes]
            return [*((look, self._rows) for look in looks), *self.rooms]
        screen = self._screen(k, low=low)
        if not screen.level.lossless:
            raise SettingError(
                f"precision=bf16 cannot tell {len(self.offer):,} sales apart with k={k}",
                "search exactly: precision=fp32",
            )
        return [(partial(self._taken, screen), self._rows)]

    def _screen(self, kept: int, *, low: bool) -> Screen:
        sieve = self.sieves[low]
        deal, cached = sieve.deal, TILE_BYTES // (sieve.deal.places * sieve.kind.itemsize)
        tile = self.plan.tile or min(512, max(32, cached // 32 * 32))
        work = Work(self._rows, tile, kind=sieve.kind, way=self.plan.way, device=self.device)
        scores = torch.empty(tile, deal.places, dtype=sieve.kind, device=self.device)
        return Screen(sieve, TwoLevel(deal, kept, work), scores)

    def pick(self, first: int, last: int) -> tuple[I32, F32]:
        """Return sale rows I32[b, k] and scores F32[b, k] of the members from `first` to `last`."""
        shape, rows = (last - first, self.plan.k), np.arange(first, last)
        if self.filters.consent is not None:
            rows = rows[self.filters.consent[first:last]]
        sales = torch.full(shape, NONE, dtype=torch.int32, device=self.device)
        scores = torch.full(shape, -torch.inf, device=self.device)
        for number, (look, many) in enumerate(self.rooms if self.k else []):
            certain = [torch.ones(0, dtype=torch.bool, device=self.device)]
            for start in range(0, len(rows), many):
                some = rows[start : start + many]
                keys, sure = look(self._read(some), some)
                certain.append(sure)
                value, rank = read(keys)
                sale = self.offer.sales.index_select(0, rank.view(-1)).view_as(rank)
                place = torch.from_numpy(some - first).to(self.device)
                sales[place, : self.k] = sale.masked_fill_(value.isneginf(), NONE)
                scores[place, : self.k] = value
            doubtful = rows[~torch.cat(certain).cpu().numpy()]
            if number == 0 and self._blurs and len(doubtful) > DOUBT * len(rows):
                # no bit of an answer depends on it
                self.rooms, self._blurs = self.rooms[1:], False
            rows = doubtful
        return sales.cpu().numpy(), scores.cpu().numpy()

    def _read(self, rows: I64) -> Tensor:
        """Copy members from where they lie, maybe a file."""
        whole = rows[-1] - rows[0] + 1 == len(rows)
        found = self.members[rows[0] : rows[-1] + 1] if whole else self.members[rows]
        found = np.array(found, dtype=np.float32)
        # what is not a number is not smaller either
        if not max(found.max(), -found.min()) < self.offer.limit:
            odd = rows[~(np.abs(found) < self.offer.limit).all(axis=1)][0]
            raise ValueError(f"vector of member row {odd} holds numbers too large or not finite")
        return torch.from_numpy(found).to(self.device)

    def _certified(self, screen: Screen, members: Tensor, rows: I64) -> Found:
        """Score what passes the sieve, and tell whether anything left out could still matter."""
        low = members.to(screen.sieve.kind)
        kept = self._kept(screen, low, rows)
        scores = scores_at(members, self.offer.vectors, kept.ranks)
        scores.masked_fill_(kept.scores.isneginf(), -torch.inf)
        keys = ranked(scores, kept.ranks, k=self.k, way=self.plan.way)
        last = read(keys[:, -1])[0]
        # where nothing is left out that may be chosen, a short list is right too
        sure = (last > screen.sieve.above(members, low, left=kept.left)) | kept.left.isneginf()
        return keys, sure

    def _taken(self, screen: Screen, members: Tensor, rows: I64) -> Found:
        """Take the sieve's own scores."""
        kept = self._kept(screen, members.to(screen.sieve.kind), rows)
        return self._final(kept.scores, kept.ranks)

    def _everywhere(self, members: Tensor, rows: I64) -> Found:
        """Score every sale."""
        ranks = torch.arange(len(self.offer), device=self.device).expand(len(rows), -1)
        scores = scores_at(members, self.offer.vectors, ranks)
        scores[self._forbidden(rows)] = -torch.inf
        return self._final(scores, ranks)

    def _final(self, scores: Tensor, ranks: Tensor) -> Found:
        keys = ranked(scores, ranks, k=self.k, way=self.plan.way)
        return keys, torch.ones(len(keys), dtype=torch.bool, device=self.device)

    def _kept(self, screen: Screen, members: Tensor, rows: I64) -> Kept:
        """Choose by the sieve's scores; `members` [t, d] are of its kind."""
        for first in range(0, len(rows), len(screen.tile)):
            part = slice(first, first + len(screen.tile))
            scores = screen.sieve.scores(members[part], screen.tile[: len(rows[part])])
            if self.filters.seen_ptr is not None:
                place, rank = self._forbidden(rows[part])
                scores[place, screen.sieve.deal.place(rank)] = -torch.inf
            screen.level.look(scores, first)
        return screen.level.kept(len(rows))

    def _forbidden(self, rows: I64) -> tuple[Tensor, Tensor]:
        """Return what may not be chosen though it is open: places in `rows` and ranks."""
        place, sale = self.filters.seen(rows)
        rank = self.offer.rank[sale]
        is_open = rank != NONE
        place, rank = place[is_open], rank[is_open]
        return torch.from_numpy(place).to(self.device), torch.from_numpy(rank).to(self.device)
