"""What callers ask: fixed fields, each within its bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from recsys.domain.events import ChannelName
from recsys.serve.answers import MAX_BATCH, MAX_DIM, MAX_IDS, Id, Ids, Places

Scope = Literal["open", "archive"]
Instant = Annotated[datetime, Meta(tz=True)]
"""ISO 8601 with its offset from UTC."""
Dial = Annotated[float, Meta(ge=0, le=100)]


class Touch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a newcomer did, once."""

    kind: str
    """view, purchase and the like: the kinds of `recsys.domain.events.Kind`, in lower case."""
    at: str | int
    """ISO 8601 with an offset, or UTC microseconds since 1970."""
    sale: Id | None = None
    """Id of a sale; a visit or an opened mail may have none."""
    channel: str = "other"
    """web, app, mail, shop; anything else is read as other, as in the data contract."""


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slate: for a member of the bundle, or for one who is described here."""

    member: Annotated[str, Meta(max_length=256)] = ""
    """Id; one that nobody knows gets a slate too. May be left out where history is told."""
    slots: Places | None = None
    """Places on the slate; null = as the service is set (6)."""
    at: Instant | None = None
    """Answer for this instant; null = now."""
    channel: ChannelName = "other"
    """Where it will be shown; it stands in the answer."""
    novelty: Dial | None = None
    """The dial for this slate; null = as the bundle was judged."""
    exclude: Ids = ()
    """Sales to leave out."""
    history: Annotated[tuple[Touch, ...], Meta(max_length=MAX_IDS)] | None = None
    """What the member did, in any order; if it or features is told, that alone counts."""
    features: dict[str, Any] | None = None
    """Column of the table of members -> what is known of this one."""


class AskMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slate for each member, all of one generation and one instant."""

    members: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_BATCH)]
    """Ids; slates come in their order."""
    slots: Places | None = None
    """Places on the slate; null = as the service is set (6)."""
    at: Instant | None = None
    """Answer for this instant; null = now."""
    channel: ChannelName = "other"
    """Where they will be shown; it stands in the answer."""
    novelty: Dial | None = None
    """The dial for these slates; null = as the bundle was judged."""
    exclude: Ids = ()
    """Sales to leave out."""


class AskWhy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sale is worth to a member, and why."""

    member: Id
    """One of the bundle's."""
    sale: Id
    """One of the bundle's, on the shelf or not."""
    slots: Places | None = None
    """Places on the slate; null = as the service is set (6)."""
    at: Instant | None = None
    """Answer for this instant; null = now."""
    novelty: Dial | None = None
    """The dial; null = as the bundle was judged."""


class AskSimilar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The nearest sales to exactly one of: a sale, a member, a vector; or members like a member."""

    sale: Id | None = None
    """Near this sale, by the cosine."""
    member: Id | None = None
    """What this member would like, by the inner product; or who is like this member."""
    vector: Annotated[tuple[float, ...], Meta(min_length=1, max_length=MAX_DIM)] | None = None
    """Near this vector of all the bundle's coordinates, or of those of length 1."""
    of: Literal["sales", "members"] = "sales"
    """What to find."""
    k: Places = 10
    """How many."""
    scope: Scope = "open"
    """open = on the shelf now; archive = every sale in the bundle."""
    brands: Ids = ()
    """Only sales of these brands, if any are named."""
    exclude: Ids = ()
    """Sales to leave out."""
