"""The rules of the data contract: what each table holds, and what a good row is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import dataframely as dy
import polars as pl

from recsys.domain.events import Channel, Kind

KINDS = tuple(kind.name.lower() for kind in Kind)
CHANNELS = tuple(channel.name.lower() for channel in Channel)
NO_SALE = ("visit", "mail_open")
"""Kinds of events that may have no sale."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Events cannot be older than online shops."""
MAX_ID_BYTES = 256

REASONS = {
    "no_id": "an id is there and not blank",
    "bad_id": "an id has at most 256 bytes and no control characters",
    "not_a_number": "a number (or true, false) can be read as one",
    "not_a_time": "an instant can be read as one",
    "time_not_on_clock": "a local time exists on the clock of its zone",
    "out_of_range": "amounts are finite and not negative, events lie between 2000 and tomorrow",
    "unknown_kind": "the kind of an event is in the vocabulary",
    "unknown_sale": "the sale is in the table of sales",
    "outside_sale": "an event lies between the opening and the closing of its sale",
    "ends_before_start": "what closes does so after it opens",
    "duplicate": "no earlier row is equal in all columns",
    "conflict": "no other row has the same key and another content",
}
"""reason -> what a good row does. A row's one reason is the first it breaks, in this order."""

Role = Literal["id", "number", "time", "word", "flag", "text", "bag", "vector"]


@dataclass(frozen=True)
class Column:
    """One canonical column: what it is called, how it is read, whether it must be there."""

    name: str
    role: Role
    required: bool = False


@dataclass(frozen=True)
class Layout:
    """The canonical columns of one table, and what makes two of its rows one and the same."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rules: type[Rules]


Checks = dict[str, Callable[[pl.Expr], pl.Expr]]


def _sound(column: pl.Expr) -> pl.Expr:
    return (column.str.len_bytes() <= MAX_ID_BYTES) & ~column.str.contains(r"\p{Cc}")


def _amount(column: pl.Expr) -> pl.Expr:
    return column.is_finite() & (column >= 0)


ID: Checks = {"no_id": lambda column: column.is_not_null(), "bad_id": _sound}
NAME: Checks = {"bad_id": _sound}
AMOUNT: Checks = {"out_of_range": _amount}


class Rules(dy.Schema):
    """What each row carries: its number in the raw table."""

    row = dy.UInt32(nullable=True, alias="_row")


class MemberRules(Rules):
    """Members with an id."""

    member = dy.String(nullable=True, check=ID)


class SaleRules(Rules):
    """Sales that close after they open."""

    sale = dy.String(nullable=True, check=ID)
    brand = dy.String(nullable=True, check=NAME)
    price = dy.Float64(nullable=True, allow_inf=True, allow_nan=True, check=AMOUNT)
    opens_at = dy.Datetime(nullable=True, time_zone="UTC")
    closes_at = dy.Datetime(nullable=True, time_zone="UTC")

    @dy.rule()
    def ends_before_start__closes_at(cls) -> pl.Expr:  # ruff: ignore[invalid-first-argument-name-for-method] dataframely's signature
        """Compare closing and opening."""
        return pl.col("closes_at") > pl.col("opens_at")


class EventRules(Rules):
    """Events of a known kind, on a sale unless the kind needs none, in our time."""

    member = dy.String(nullable=True, check=ID)
    sale = dy.String(nullable=True, check=NAME)
    kind = dy.String(
        nullable=True, check={"unknown_kind": lambda kind: kind.is_in(KINDS) & kind.is_not_null()}
    )
    at = dy.Datetime(nullable=True, time_zone="UTC")
    value = dy.Float64(nullable=True, allow_inf=True, allow_nan=True, check=AMOUNT)
    quantity = dy.Float64(nullable=True, allow_inf=True, allow_nan=True, check=AMOUNT)
    id_source = dy.String(nullable=True, check=NAME)
    latest = dy.Datetime(nullable=True, time_zone="UTC")

    @dy.rule()
    def no_id__sale(cls) -> pl.Expr:  # ruff: ignore[invalid-first-argument-name-for-method] dataframely's signature
        """Ask for a sale where the kind is about one; unknown kinds are another rule's."""
        needs = pl.col("kind").is_in(KINDS) & ~pl.col("kind").is_in(NO_SALE)
        return pl.col("sale").is_not_null() | ~needs.fill_null(value=False)

    @dy.rule()
    def out_of_range__at(cls) -> pl.Expr:  # ruff: ignore[invalid-first-argument-name-for-method] dataframely's signature
        """Hold events between the year 2000 and tomorrow."""
        return pl.col("at").is_between(EARLIEST, pl.col("latest"))


class ExposureRules(Rules):
    """What was shown to whom, in which slot, with which chance."""

    member = dy.String(nullable=True, check=ID)
    sale = dy.String(nullable=True, check=ID)
    send = dy.String(nullable=True, check=ID)
    slot = dy.Float64(
        nullable=True,
        allow_inf=True,
        allow_nan=True,
        check={"out_of_range": lambda slot: slot.is_between(0, 32_767) & (slot == slot.floor())},
    )
    propensity = dy.Float64(
        nullable=True,
        allow_inf=True,
        allow_nan=True,
        check={"out_of_range": lambda chance: (chance > 0) & (chance <= 1)},
    )
    at = dy.Datetime(nullable=True, time_zone="UTC")
    latest = dy.Datetime(nullable=True, time_zone="UTC")

    @dy.rule()
    def out_of_range__at(cls) -> pl.Expr:  # ruff: ignore[invalid-first-argument-name-for-method] dataframely's signature
        """Hold exposures between the year 2000 and tomorrow."""
        return pl.col("at").is_between(EARLIEST, pl.col("latest"))


class CurationRules(Rules):
    """Picks of editors that end after they start."""

    sale = dy.String(nullable=True, check=ID)
    from_at = dy.Datetime(nullable=True, time_zone="UTC")
    until_at = dy.Datetime(nullable=True, time_zone="UTC")

    @dy.rule()
    def ends_before_start__until_at(cls) -> pl.Expr:  # ruff: ignore[invalid-first-argument-name-for-method] dataframely's signature
        """Compare end and start."""
        return pl.col("until_at") > pl.col("from_at")


class StockRules(Rules):
    """Stock that is not negative."""

    sale = dy.String(nullable=True, check=ID)
    left = dy.Float64(nullable=True, allow_inf=True, allow_nan=True, check=AMOUNT)


class IdentityRules(Rules):
    """Channel ids that say whose they are."""

    source = dy.String(nullable=True, check=ID)
    id = dy.String(nullable=True, check=ID)
    member = dy.String(nullable=True, check=ID)


def _columns(role: Role, *names: str, required: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, role, required) for name in names)


SALE = _columns("id", "sale", required=True)
MEMBER = _columns("id", "member", required=True)
AT = _columns("time", "at", required=True)

LAYOUTS: dict[str, Layout] = {
    "sales": Layout(
        columns=(
            *SALE,
            *_columns("id", "brand"),
            *_columns("time", "opens_at", "closes_at"),
            *_columns("number", "price"),
            *_columns("text", "title"),
            *_columns("flag", "curated"),
        ),
        key=("sale",),
        rules=SaleRules,
    ),
    "members": Layout(
        columns=(
            *MEMBER,
            *_columns("time", "joined_at"),
            *_columns("flag", "consent_personalise", "consent_mail"),
        ),
        key=("member",),
        rules=MemberRules,
    ),
    "identities": Layout(
        columns=_columns("id", "source", "id", "member", required=True),
        key=("source", "id"),
        rules=IdentityRules,
    ),
    "events": Layout(
        columns=(
            *MEMBER,
            *SALE,
            *_columns("word", "kind", required=True),
            *AT,
            *_columns("word", "channel"),
            *_columns("number", "value", "quantity"),
            *_columns("flag", "is_machine"),
            *_columns("time", "ingested_at"),
            *_columns("id", "id_source"),
        ),
        key=("member", "sale", "kind", "at"),
        rules=EventRules,
    ),
    "exposures": Layout(
        columns=(
            *MEMBER,
            *SALE,
            *AT,
            *_columns("id", "send", required=True),
            *_columns("number", "slot", required=True),
            *_columns("word", "channel"),
            *_columns("number", "propensity"),
        ),
        key=("member", "send", "slot"),
        rules=ExposureRules,
    ),
    "curation": Layout(
        columns=(*SALE, *_columns("time", "from_at", required=True), *_columns("time", "until_at")),
        key=("sale", "from_at", "until_at"),
        rules=CurationRules,
    ),
    "stock": Layout(
        columns=(*SALE, *AT, *_columns("number", "left", required=True)),
        key=("sale", "at"),
        rules=StockRules,
    ),
}
"""Tables in the order in which they are checked: sales before what points at them."""
