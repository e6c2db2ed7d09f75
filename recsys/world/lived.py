"""What a block of members did on a day, before stock is settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from recsys.domain.arrays import F32, I64, U8, Bool

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MINUTE = 60_000_000
"""Microseconds in a minute."""
Columns = TypeVar("Columns", bound="DataclassInstance")
"""A dataclass of arrays."""


def joined(parts: Sequence[Columns]) -> Columns:
    """Join parts, one or more, array by array."""
    first = parts[0]
    if len(parts) == 1:
        return first
    names = [field.name for field in fields(first)]
    return type(first)(**{
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    })


def taken(columns: Columns, rows: np.ndarray) -> Columns:
    """Take rows of all arrays."""
    names = [field.name for field in fields(columns)]
    return type(columns)(**{name: getattr(columns, name)[rows] for name in names})


@dataclass(frozen=True)
class Pairs:
    """p members before sales they engaged with, in order of (source, member, column)."""

    member: I64
    sale: I64
    at: I64
    """When the sale is viewed, UTC us."""
    clicked: Bool
    """Came by a click in the mail."""
    phone: Bool
    new: Bool
    """The brand was not known to the member."""
    cart_at: I64
    """When it is put into the cart, or NEVER."""
    buy_at: I64
    """When a purchase is tried, or NEVER."""
    channel: U8
    """Where it is tried."""
    waits: Bool
    """Would join a wait-list if it is sold out."""


@dataclass(frozen=True)
class Block:
    """A day of a block of members: who was there, whose mail was opened, what was shown."""

    rows: I64
    """Members who visited or opened a mail themselves, ascending."""
    visit_member: I64
    visit_at: I64
    visit_phone: Bool
    open_member: I64
    """Members whose mail was opened: by themselves, then by proxies."""
    open_at: I64
    open_machine: Bool
    open_flagged: Bool
    mails: int
    """Mails sent."""
    pairs: Pairs
    shown_member: I64
    """Members to whom a slate was shown, each place a row in the log."""
    shown_sale: I64
    """I64[k, SLOTS]."""
    shown_propensity: F32
    shown_mail_at: I64
    """When it was rendered in the mail, or NEVER, I64[k]."""
    shown_page_at: I64
    """When it was first rendered on the page, or NEVER, I64[k]."""
    shown_looks: U8
    """How often a person had it before the eyes: mail, page, both or (by a proxy) never, U8[k]."""
    shown_answered: Bool
    """The place led to a view that day, Bool[k, SLOTS]."""
