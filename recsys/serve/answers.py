"""What callers get: fixed fields."""

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
Rung = Literal["personalised", "segment", "curated", "newest"]
Foretells = Literal["purchase", "engagement"]


class Place(msgspec.Struct, frozen=True):
    """One slot of a slate; taste + new + curated = gain."""

    slot: int
    """From 1; the slate log and outcomes that are told count from 0."""
    sale: str
    title: str | None
    brand: str | None
    taste: float
    """Appeal and fatigue, in units of value: what the answer foretells, expected per showing."""
    new: float
    """Bonus for novelty to the member, and for variety on the slate; no forecast."""
    curated: float
    """Bonus of editors' boosts, promised minimums and maximums; no forecast."""
    gain: float
    """What the slot was won with."""
    reason: str
    """Its short name, as new_to_you."""
    because: str
    """The reason as a sentence."""
    evidence: str | None
    """The sale that the reason points at, if it points at one."""
    flags: tuple[str, ...]
    """pinned, explored, repaired."""
    propensity: float | None
    """Chance of this sale at this slot, given the slots before it; 1 = certain, null = repaired."""


class Answer(msgspec.Struct, frozen=True):
    """One member's slate."""

    member: str
    """As it was asked for; empty where a newcomer was described without an id."""
    fallback: Rung
    """Which rung of the ladder answered."""
    short: bool
    """Whether there are fewer sales than places."""
    sales: tuple[Place, ...]
    foretells: Foretells
    """What taste counts."""
    policy: str
    """Name of what made the slate, as the slate log has it: log it with what you show."""
    arm: str | None = None
    """Arm of the experiment that the member is in, where the service runs one (serve.arms)."""
    heard: Heard | None = None
    """What became of the history that was told, if one was."""
    because: str = ""
    """Why a newcomer's slate is not their own, where it is not."""


class Heard(msgspec.Struct, frozen=True):
    """What became of a newcomer's history: each touch counts once."""

    used: int
    """Told of taste, and was read."""
    silent: int
    """Visits and opened mails, which say nothing of taste."""
    unknown_sales: int
    """On sales that the bundle does not hold."""
    later: int
    """Not before the decision: what is to come is never read."""
    repeated: int
    """Of the same sale, kind and time as another."""


class Near(msgspec.Struct, frozen=True):
    """A sale found by likeness."""

    sale: str
    title: str | None
    brand: str | None
    score: float
    """To a sale: the cosine. To a member or a vector: the inner product."""
    open: bool
    """Whether it can be bought now."""


class Alike(msgspec.Struct, frozen=True):
    """A member found by likeness."""

    member: str
    score: float
    """The cosine."""


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
