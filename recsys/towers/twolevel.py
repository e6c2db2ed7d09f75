"""The largest of many scores in each row, looked for only where the group maxima are largest.

Shape letters: t rows, n columns, w columns of a group, g groups, c columns kept. Columns are named
by their rank: of equal scores the smaller rank is the better.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Literal

import torch
from torch import Tensor

LOWEST = -0x7F800001
"""The key of -inf; it ends in 23 ones."""
MAGNITUDE, RANK = 0x7FFFFFFF, 0xFFFFFFFF
Way = Literal["host", "device"]
"""How rows are cut: numpy's vectorised partition and sort, or torch.topk, which a GPU has too."""


def in_order(bits: Tensor) -> Tensor:
    """Turn bits of float32 into int32 keys of the same order, in place; twice gives them back."""
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(MAGNITUDE))


def cut(keys: Tensor, k: int, way: Way) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row in no order [t, k], and the largest not among them [t].

    Host: `keys` are shuffled, and what comes back is a view of them.
    """
    if k >= keys.shape[1]:
        return keys, keys.new_full((len(keys),), LOWEST)
    if way == "host":
        rest = keys.shape[1] - k
        # an element in its sorted place: all before it are no larger, all after it no smaller
        keys.numpy().partition(rest - 1, axis=1)
        return keys[:, rest:], keys[:, rest - 1]
    top = keys.topk(k + 1, dim=1).values
    return top[:, :k], top[:, k]


def ranked(scores: Tensor, ranks: Tensor, *, k: int, way: Way) -> Tensor:
    """Return the k best of each row as keys I64[t, k], best first: score, then smaller rank.

    `scores` F32[t, c], `ranks` I64[t, c]; k at most c.
    """
    # minus nought is nought, and ties with it
    order = in_order((scores + 0.0).view(torch.int32))
    keys = order.to(torch.int64).bitwise_left_shift_(32).bitwise_or_(RANK - ranks)
    if way == "device":
        return keys.topk(k, dim=1).values
    top = cut(keys, k, way)[0] if keys.shape[1] > 4 * k else keys
    top.numpy().sort(axis=1)
    return top[:, -k:].flip(1)


def read(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores F32[t, k] and ranks I64[t, k] of what `ranked` gives."""
    scores = in_order((keys >> 32).to(torch.int32)).view(torch.float32)
    return scores, RANK - (keys & RANK)


@dataclass(frozen=True)
class Deal:
    """How columns stand in a row of scores.

    Rank r belongs to group r >> shift: a group is a run of neighbours. Its columns stand g places
    apart, so that the maxima of all groups are those of w short rows, elementwise. And because a
    group with a smaller number holds the smaller ranks, groups of equal maxima are chosen as
    equal scores are, which is why ties need no second look.
    """

    columns: int
    shift: int

    @classmethod
    def of(cls, columns: int, k: int) -> Deal:
        """Choose the width for which there are about as many groups as columns in k of them."""
        return cls(columns, max(0, round(log2(columns / k) / 2)))

    @property
    def width(self) -> int:
        """Columns of a group, w: a power of two."""
        return 1 << self.shift

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return -(-self.columns >> self.shift)

    @property
    def places(self) -> int:
        """Length of a row of scores: the last group is filled up."""
        return self.groups * self.width

    def place(self, ranks: Tensor) -> Tensor:
        """Return where in a row ranks stand."""
        return (ranks & (self.width - 1)) * self.groups + (ranks >> self.shift)

    def deal(self, rows: Tensor) -> Tensor:
        """Put rows [n, ...], one a rank, where they stand; the places too many are nought."""
        placed = rows.new_zeros((self.places, *rows.shape[1:]))
        placed[self.place(torch.arange(self.columns, device=rows.device))] = rows
        return placed

    def close(self, scores: Tensor) -> None:
        """Set the places that belong to no column to -inf."""
        real = self.columns - (self.groups - 1) * self.width
        scores.view(len(scores), self.width, self.groups)[:, real:, -1] = -torch.inf


@dataclass(frozen=True)
class Kept:
    """The columns of each row with the largest scores, and what is known of the others."""

    ranks: Tensor
    """I64[t, c], in no order."""
    scores: Tensor
    """F32[t, c], cut to the leading bits that the keys have room for; bfloat16 is never cut."""
    left: Tensor
    """F32[t]: no column outside has a larger score."""


@dataclass(frozen=True)
class Work:
    """What is worked on at once, and where."""

    rows: int
    """Chosen from at once."""
    tile: int
    """Rows of one product."""
    kind: torch.dtype
    """Of the scores: float32 or bfloat16."""
    way: Way
    device: torch.device


class TwoLevel:
    """Keep c columns of each row out of those of some groups.

    A group left out has as many groups before it as were chosen, each with a maximum at least its
    own. So where c groups are chosen, the c largest scores are kept, ties by rank included.
    Scores come in tiles small enough for the cache; of each, `look` copies the chosen groups, and
    `kept` chooses among these for many tiles at once.
    """

    def __init__(self, deal: Deal, kept: int, work: Work) -> None:
        """Make the buffers."""
        self.deal, self.way = deal, work.way
        self.groups = min(kept, deal.groups)
        self.columns = self.groups * deal.width
        self.wanted = min(kept, self.columns)
        self._group_mask = (1 << (deal.groups - 1).bit_length()) - 1
        self._mask = (1 << (self.columns - 1).bit_length()) - 1
        device = work.device
        self._bits = torch.int16 if work.kind == torch.bfloat16 else torch.int32
        # half the bytes, where they suffice
        wide = torch.int64 if work.tile * deal.places >= 1 << 31 else torch.int32
        row = torch.arange(work.tile, device=device)[:, None, None] * deal.places
        self._offset = (row + torch.arange(deal.width, device=device) * deal.groups).to(wide)
        self._at = self._offset.new_empty(work.tile, self.groups, deal.width)
        self._group_end = self._group_mask - torch.arange(deal.groups, device=device).int()
        self._end = self._mask - torch.arange(self.columns, device=device).int()
        self._chosen = self._end.new_empty(work.rows, self.groups)
        self._left = self._end.new_empty(work.rows)
        self._found = self._end.new_empty(work.rows, self.columns, dtype=self._bits)

    @property
    def lossless(self) -> bool:
        """Whether keys hold bfloat16 scores whole: 16 bits are free for where they are."""
        return max(self._mask, self._group_mask) < 1 << 16

    def look(self, scores: Tensor, first: int) -> None:
        """Choose groups of the scores [t, places] of the rows from `first` on."""
        raw = scores.view(self._bits)
        rows = slice(first, first + len(raw))
        cube = raw.view(len(raw), self.deal.width, self.deal.groups)
        # bits of floats are in order as they are, but for negative ones
        top, left = self._best(cube, plain=self.way == "host")
        # a GPU is not asked: it would have to be waited for
        if self.way == "host" and int(left.min()) < 0:
            top, left = self._best(cube, plain=False)
        torch.bitwise_or(left, self._group_mask, out=self._left[rows])
        chosen = self._chosen[rows]
        torch.sub(self._group_mask, top & self._group_mask, out=chosen)
        # ascending, so that a smaller position is a smaller rank
        if self.way == "host":
            chosen.numpy().sort(axis=1)
        else:
            chosen.copy_(chosen.sort(dim=1).values)
        at = self._at[: len(raw)]
        torch.add(chosen[:, :, None], self._offset[: len(raw)], out=at)
        torch.index_select(raw.view(-1), 0, at.view(-1), out=self._found[rows].view(-1))

    def _best(self, cube: Tensor, *, plain: bool) -> tuple[Tensor, Tensor]:
        """Choose groups by the maxima of scores [t, w, g]; their keys, and the next one's."""
        maxima = cube.amax(1)
        if not plain:
            maxima = torch.where(maxima < 0, cube.amin(1), maxima)
        keys = _keys(maxima, self._group_end, self._group_mask, plain=plain)
        return cut(keys, self.groups, self.way)

    def kept(self, rows: int) -> Kept:
        """Choose columns of the first rows that were looked at."""
        chosen, found, left = self._chosen[:rows], self._found[:rows], self._left[:rows]
        plain = self.way == "host" and int(left.min()) >= 0
        keys = _keys(found, self._end, self._mask, plain=plain)
        top, next_one = cut(keys, self.wanted, self.way)
        position = self._mask - (top & self._mask)
        order = position >> self.deal.shift
        group = chosen.gather(1, order.to(torch.int64))
        ranks = position + ((group - order) << self.deal.shift)
        # the bits under the mask were noughts of a positive number, ones of a negative one
        below = LOWEST if plain else top | self._mask
        bits = torch.where(top < 0, below, top & ~self._mask)
        left = torch.maximum(left, next_one | self._mask)
        return Kept(
            # a place of no column names one too, with -inf
            ranks=ranks.to(torch.int64).clamp_(max=self.deal.columns - 1),
            scores=in_order(bits).view(torch.float32),
            left=in_order(left).view(torch.float32),
        )


def _keys(raw: Tensor, end: Tensor, mask: int, *, plain: bool) -> Tensor:
    """Return int32 keys: the score's leading bits, then the position, the first being largest."""
    bits = raw.to(torch.int32).bitwise_left_shift_(16) if raw.dtype == torch.int16 else raw
    keys = bits if plain else in_order(bits)
    return keys.bitwise_and_(~mask).bitwise_or_(end)
