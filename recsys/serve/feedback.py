"""What members did, told by other services: stored before it is acknowledged."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from recsys.domain.events import ChannelName
from recsys.domain.journal import Journal, mend
from recsys.serve.answers import Id
from recsys.serve.asks import Instant

MAX_ROWS = 1_024
"""Events, and outcomes, of one message."""
NO_SALE = frozenset({"visit", "mail_open"})
AHEAD = timedelta(days=1)
"""How far a caller's clock may be ahead: what the data contract allows."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
UNSOUND = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no id holds: control characters, and halves of characters that no file can keep."""

EventKind = Literal["visit", "view", "mail_open", "mail_click", "wait_list", "cart", "purchase"]
Money = Annotated[float, Meta(ge=0, le=1e9)]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something a member did; the same event told twice counts once."""

    member: Id
    kind: EventKind
    at: Instant
    """ISO 8601 with its offset from UTC."""
    sale: Id | None = None
    """What it was about; a visit and an opened mail are about none."""
    channel: ChannelName = "other"
    value: Money = 0.0
    """Money spent."""
    is_machine: bool = False
    """A machine did it, as a mail proxy that opens for people."""


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one slot of a send so far; a later message about the slot adds to it."""

    send_id: Id
    """As the slate log has it."""
    member_id: Id
    slot: Annotated[int, Meta(ge=0, le=999)]
    """From 0, as in the slate log; places in answers count from 1."""
    at: Instant
    opened: bool = False
    clicked: bool = False
    visited: bool = False
    bought: bool = False
    margin: Money = 0.0
    """What was earned with it so far, in money."""
    unsubscribed: bool = False


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events and outcomes, stored together or refused together."""

    events: Annotated[tuple[Event, ...], Meta(max_length=MAX_ROWS)] = ()
    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=MAX_ROWS)] = ()


class Stored(msgspec.Struct, frozen=True):
    """What is on the disk now."""

    events: int
    outcomes: int


EVENT_COLUMNS = (*Event.__struct_fields__, "received_at")
OUTCOME_COLUMNS = (*Outcome.__struct_fields__, "received_at")


class Feedback:
    """Two journals below one folder: events-*.csv and outcomes-*.csv, for `data=tables`."""

    def __init__(self, folder: Path) -> None:
        """Mend what a writer that died left half written; nothing else is read.

        Raises:
            DeviceError, NoRoomError: the system refused.
        """
        self.mended = sum(mend(folder, stem) for stem in ("events", "outcomes"))
        self._events = Journal(folder, "events", ",".join(EVENT_COLUMNS))
        self._outcomes = Journal(folder, "outcomes", ",".join(OUTCOME_COLUMNS))

    def store(self, told: Told, *, now: datetime) -> list[Future[None]]:
        """Begin to store a message that was `checked`; it is kept once all the futures are done.

        Raises:
            NoRoomError: too much waits for the disk already.
        """
        waiting = []
        for journal, rows in ((self._events, told.events), (self._outcomes, told.outcomes)):
            if rows:
                waiting.append(journal.append(_lines(rows, now)))
        return waiting

    def close(self) -> None:
        """Store what waits, then end."""
        self._events.close()
        self._outcomes.close()


def checked(told: Told, *, now: datetime) -> Told:
    """Return what the data contract would keep.

    Raises:
        ValueError: which row of what breaks it, and how.
    """
    if not told.events and not told.outcomes:
        raise ValueError("a message has events or outcomes")
    for number, event in enumerate(told.events):
        where = f"events[{number}]"
        _sound(where, now, event.at, event.member, event.sale or "")
        if event.sale is None and event.kind not in NO_SALE:
            raise ValueError(f"{where}: a {event.kind} is about a sale, and none is named")
    for number, outcome in enumerate(told.outcomes):
        _sound(f"outcomes[{number}]", now, outcome.at, outcome.send_id, outcome.member_id)
    return told


def _sound(where: str, now: datetime, at: datetime, *ids: str) -> None:
    if not EARLIEST <= at <= now + AHEAD:
        raise ValueError(f"{where}: at lies before the year 2000, or over a day ahead")
    for one in ids:
        if len(one.encode("utf-8", "surrogatepass")) > 256 or UNSOUND.search(one):
            raise ValueError(f"{where}: an id has at most 256 bytes and no control characters")


def _lines(rows: Sequence[Event] | Sequence[Outcome], now: datetime) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    received = _iso(now)
    writer.writerows((*_cells(row), received) for row in rows)
    return text.getvalue().encode()


def _cells(row: Event | Outcome) -> Iterable[str | float | None]:
    for value in msgspec.structs.astuple(row):
        if isinstance(value, datetime):
            yield _iso(value)
        elif isinstance(value, bool):
            yield "true" if value else "false"
        else:
            yield value


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
