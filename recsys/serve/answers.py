"""What callers ask and what they get: fixed fields, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_BATCH = 1024
MAX_PLACES = 1000
MAX_IDS = 10_000
MAX_DIM = 4096

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Places = Annotated[int, Meta(ge=1, le=MAX_PLACES)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=MAX_IDS)]
Rung = Literal["personalised", "curated", "newest"]
Scope = Literal["open", "archive"]
Foretells = Literal["purchase", "engagement"]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slate for one member."""

    member: Id
    slots: Places | None = None


class AskMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slate for each member, all of one generation and one instant."""

    members: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_BATCH)]
    slots: Places | None = None


class AskSimilar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The nearest sales to exactly one of: a sale, a member, a vector."""

    sale: Id | None = None
    member: Id | None = None
    vector: Annotated[tuple[float, ...], Meta(min_length=1, max_length=MAX_DIM)] | None = None
    k: Places = 10
    scope: Scope = "open"
    """open = on the shelf now; archive = every sale in the bundle."""
    brands: Ids = ()
    """Only sales of these brands, if any are named."""
    exclude: Ids = ()
    """Sales to leave out."""


class Place(msgspec.Struct, frozen=True):
    """One slot of a slate; taste + new + curated = gain."""

    slot: int
    """From 1."""
    sale: str
    title: str | None
    brand: str | None
    taste: float
    """Appeal and fatigue, in units of value: what the answer `foretells`, expected per showing."""
    new: float
    """Bonus for novelty to the member, and for variety on the slate; no forecast."""
    curated: float
    """Bonus of editors' boosts, promised minimums and maximums; no forecast."""
    gain: float
    reason: str
    """Name of a `recsys.domain.slates.Reason`, in lower case."""
    because: str
    """The reason as a sentence."""
    evidence: str | None
    """The sale that the reason points at, if it points at one."""
    flags: tuple[str, ...]
    """pinned, explored, repaired."""


class Answer(msgspec.Struct, frozen=True):
    """One member's slate."""

    member: str
    fallback: Rung
    """Which rung of the ladder answered."""
    short: bool
    """Whether there are fewer sales than places."""
    sales: tuple[Place, ...]
    foretells: Foretells
    """What `taste` counts."""


class Near(msgspec.Struct, frozen=True):
    """A sale found by likeness."""

    sale: str
    title: str | None
    brand: str | None
    score: float
    """To a sale: the cosine. To a member or a vector: the inner product."""
    open: bool
    """Whether it can be bought now."""


class OnOffer(msgspec.Struct, frozen=True):
    """A sale on the shelf."""

    sale: str
    title: str | None
    brand: str | None
    category: str | None
    price: float | None
    opens_at: str
    closes_at: str | None
    curated: bool


def to_json(answers: Sequence[Answer]) -> str:
    """Write answers as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(answers)).decode()
