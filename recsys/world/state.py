"""What the retailer and its members carry from one noon to the next: a value to save and branch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from recsys.domain.arrays import F32, F64, I16, I32, I64, NONE, U8, Bool
from recsys.world.brands import Brands
from recsys.world.draws import U64, Luck, draw, normals, on_grid, pick, places
from recsys.world.members import Members
from recsys.world.sales import Sales

KNOWN = 32
"""Brands a member can hold in mind; the oldest gives way."""
SLOTS = 6
"""Places of a slate, in the mail and at the head of the page."""
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class State:
    """n members, b brands, s sales; all that happens after is a function of this and of luck."""

    day: int
    """The next day to be played."""
    known: I16
    """Brands bought before, I16[n, KNOWN]; NONE where free."""
    like: F32
    """How each known brand pleased, F32[n, KNOWN] on the grid."""
    num_known: I32
    """Brands ever known, I32[n]."""
    boost: F32
    """What pleasing discoveries add to the rate of visits, F32[n]."""
    tired: F32
    """Mails opened lately without interest, F32[n]."""
    subscribed: Bool
    shown: I32
    """Sales of the last slate that was looked at and not answered, I32[n, SLOTS]; else NONE."""
    shown_times: U8
    """How often, U8[n, SLOTS]."""
    stock_left: I64
    sold_out_at: I64
    """UTC us, I64[s]; `NEVER` while pieces are left."""
    brand_views: F64
    """Views of each brand's sales, fading by a tenth a day, F64[b]."""

    def save(self, path: Path) -> None:
        """Write the state to one .npz file."""
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> State:
        """Read a state that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files if name != "day"}
            return cls(day=int(stored["day"]), **arrays)

    def branch(self) -> State:
        """Return an equal state that shares no array with this one."""
        arrays = {
            field.name: getattr(self, field.name).copy()
            for field in fields(self)
            if field.name != "day"
        }
        return State(day=self.day, **arrays)


def first_state(brands: Brands, sales: Sales, members: Members) -> State:
    """Return the state at the noon of day 0: long-standing members know brands already."""
    count = len(members)
    known = _known_before(brands, members)
    row, slot = np.nonzero(known != NONE)
    like = np.zeros(known.shape, dtype=np.float32)
    like[row, slot] = liking(members.key[row], brands, known[row, slot]) + np.float32(0.25)
    return State(
        day=0,
        known=known,
        like=like,
        num_known=(known != NONE).sum(axis=1, dtype=np.int32),
        boost=np.zeros(count, dtype=np.float32),
        tired=np.zeros(count, dtype=np.float32),
        subscribed=members.consent_mail.copy(),
        shown=np.full((count, SLOTS), NONE, dtype=np.int32),
        shown_times=np.zeros((count, SLOTS), dtype=np.uint8),
        stock_left=sales.stock.copy(),
        sold_out_at=np.full(len(sales), NEVER, dtype=np.int64),
        brand_views=np.zeros(len(brands)),
    )


def liking(keys: U64, brands: Brands, rows: np.ndarray) -> F32:
    """Return how a brand pleases a member who buys it, on the grid: half quality, half luck."""
    luck = normals(keys ^ brands.key[rows], 1, Luck.LIKE)[:, 0]
    pleased = np.clip(0.5 * brands.quality[rows] + 0.5 * luck, -1.5, 1.5)
    return on_grid(pleased)


def _known_before(brands: Brands, members: Members) -> I16:
    """Draw the brands members know from before the start, I16[n, KNOWN]: more with the years."""
    count = len(members)
    luck = draw(members.key, Luck.KNOWN, 0)
    years = np.maximum(0, -1 - members.joined_day) / 365
    share = np.clip((1 - np.exp(-1.2 * years)) * (0.9 + 0.1 * luck), 0, 1)
    how_many = np.floor(KNOWN * np.where(members.awake, share, share / 3))
    row, slot = places(np.arange(KNOWN) < how_many[:, None])
    key = members.key.take(row) ^ slot.astype(np.uint64)
    by_need, by_taste, by_brand = (draw(key, Luck.KNOWN, 1, number) for number in range(3))
    wants = np.cumsum(members.need, axis=1)
    wanted = by_need * wants[:, -1].take(row)
    department = np.zeros(len(row), dtype=np.int64)
    for below in wants[:, :-1].T:
        department += wanted >= below.take(row)
    tastes = (members.weight > 0).sum(axis=1).take(row)
    cluster = members.cluster[row, np.floor(by_taste * tastes).astype(np.int64)]
    known = np.full((count, KNOWN), NONE, dtype=np.int16)
    rows = department * (len(brands.familiar) // wants.shape[1]) + cluster
    known[row, slot] = pick(brands.familiar, rows, by_brand)
    return known
