"""The log of a day: events and places shown, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I16, I32, I64, NONE, U8, Bool
from recsys.domain.events import Channel, Kind
from recsys.world.draws import places
from recsys.world.lived import MINUTE, Block, joined
from recsys.world.retailer import World
from recsys.world.state import NEVER, SLOTS

FLAG_MACHINE = 1
"""A machine made the event, whether the shop knows or not."""
FLAG_FOUND = 2
"""The shop believes that a machine made it."""
FLAG_NEW = 4
"""The member had never bought the brand."""


@dataclass(frozen=True)
class Log:
    """e events in order of (day, member, at), and x places shown."""

    member: I32
    sale: I32
    """NONE for a visit or an opened mail."""
    at: I64
    kind: U8
    channel: U8
    flags: U8
    shown_member: I32
    shown_sale: I32
    shown_at: I64
    shown_day: I16
    shown_slot: I16
    shown_channel: U8
    shown_propensity: F32

    def __len__(self) -> int:
        """Count the events."""
        return len(self.member)


def join(logs: Sequence[Log]) -> Log:
    """Join the logs of several days."""
    return joined(logs)


@dataclass(frozen=True)
class Settled:
    """What stock allowed: p pairs, s sales."""

    bought: Bool
    """The purchase that was tried succeeded, Bool[p]."""
    carted: Bool
    """Put into the cart while there was stock, Bool[p]."""
    waits: Bool
    """Joined the wait-list, Bool[p]."""
    stock_left: I64
    sold_out_at: I64


@dataclass(frozen=True)
class _Rows:
    """Some events of one kind, or of a few."""

    member: I64
    sale: I64
    at: I64
    kind: Kind
    channel: U8
    flags: U8


def make_log(world: World, block: Block, *, settled: Settled, day: int) -> Log:
    """Write down what a block of members did on a day, once stock is settled."""
    return Log(
        **events_of(world, block, settled=settled, day=day),
        **places_shown(shown_of(block), day=day),
    )


def events_of(world: World, block: Block, *, settled: Settled, day: int) -> dict[str, np.ndarray]:
    """Return the columns of the events of a block on a day, in order of (member, at)."""
    rows = [*_without_sale(block), *_with_sale(block, settled)]
    member = np.concatenate([part.member for part in rows])
    at = np.concatenate([part.at for part in rows])
    within = (at - world.noon(day)).astype(np.uint64)
    # one key instead of two: a day has 2^37 microseconds
    order = np.argsort((member.astype(np.uint64) << np.uint64(37)) | within, kind="stable")
    kind = np.concatenate([np.full(len(part.member), part.kind, dtype=np.uint8) for part in rows])
    sale = np.concatenate([part.sale for part in rows])
    return {
        "member": member[order].astype(np.int32),
        "sale": sale[order].astype(np.int32),
        "at": at[order],
        "kind": kind[order],
        "channel": np.concatenate([part.channel for part in rows])[order],
        "flags": np.concatenate([part.flags for part in rows])[order],
    }


def _without_sale(block: Block) -> list[_Rows]:
    """Return visits and opened mails."""
    visits, opens = len(block.visit_member), len(block.open_member)
    machine = np.where(block.open_machine, FLAG_MACHINE, 0)
    return [
        _Rows(
            member=block.visit_member,
            sale=np.full(visits, NONE),
            at=block.visit_at,
            kind=Kind.VISIT,
            channel=_device(block.visit_phone),
            flags=np.zeros(visits, dtype=np.uint8),
        ),
        _Rows(
            member=block.open_member,
            sale=np.full(opens, NONE),
            at=block.open_at,
            kind=Kind.MAIL_OPEN,
            channel=np.full(opens, Channel.MAIL, dtype=np.uint8),
            flags=(machine | np.where(block.open_flagged, FLAG_FOUND, 0)).astype(np.uint8),
        ),
    ]


def _with_sale(block: Block, settled: Settled) -> list[_Rows]:
    """Return clicks, views, wait-list entries, carts and purchases."""
    pairs = block.pairs
    device = _device(pairs.phone)
    mail = np.full(len(pairs.sale), Channel.MAIL, dtype=np.uint8)
    flags = np.where(pairs.new, FLAG_NEW, 0).astype(np.uint8)
    return [
        _Rows(pairs.member[of], pairs.sale[of], at[of], kind, channel[of], flags[of])
        for of, at, kind, channel in (
            (np.flatnonzero(pairs.clicked), pairs.at - MINUTE // 20, Kind.MAIL_CLICK, mail),
            (slice(None), pairs.at, Kind.VIEW, device),
            (np.flatnonzero(settled.waits), pairs.at + MINUTE // 2, Kind.WAIT_LIST, device),
            (np.flatnonzero(settled.carted), pairs.cart_at, Kind.CART, device),
            (np.flatnonzero(settled.bought), pairs.buy_at, Kind.PURCHASE, pairs.channel),
        )
    ]


def _device(phone: Bool) -> U8:
    return np.where(phone, Channel.APP, Channel.WEB).astype(np.uint8)


@dataclass(frozen=True)
class Shown:
    """The slates of k members on one day."""

    member: I64
    sale: I64
    """I64[k, SLOTS], padded with NONE."""
    propensity: F32
    mail_at: I64
    """When it was rendered in the mail, or NEVER."""
    page_at: I64
    """When it was first rendered on the page, or NEVER."""


def shown_of(block: Block) -> Shown:
    """Return the slates of a block."""
    return Shown(
        member=block.shown_member,
        sale=block.shown_sale,
        propensity=block.shown_propensity,
        mail_at=block.shown_mail_at,
        page_at=block.shown_page_at,
    )


def places_shown(shown: Shown, *, day: int) -> dict[str, np.ndarray]:
    """Return the columns of the places shown: one row a place, in mails and at first visits."""
    shown_at = np.stack([shown.mail_at, shown.page_at], axis=1)
    slate, way = places(shown_at != NEVER)
    at = shown_at[slate, way]
    channel = np.array([Channel.MAIL, Channel.WEB], dtype=np.uint8)[way]
    sale = shown.sale.take(slate, axis=0)
    columns: dict[str, np.ndarray] = {
        "shown_member": np.repeat(shown.member[slate].astype(np.int32), SLOTS),
        "shown_sale": sale.ravel().astype(np.int32),
        "shown_at": np.repeat(at, SLOTS),
        "shown_day": np.full(sale.size, day, dtype=np.int16),
        "shown_slot": np.tile(np.arange(SLOTS, dtype=np.int16), len(slate)),
        "shown_channel": np.repeat(channel, SLOTS),
        "shown_propensity": shown.propensity.take(slate, axis=0).ravel(),
    }
    kept = sale.ravel() != NONE
    return columns if kept.all() else {name: of[kept] for name, of in columns.items()}
