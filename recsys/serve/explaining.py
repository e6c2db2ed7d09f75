"""What a sale is worth to a member, part by part, and why it is or is not on the slate."""

from __future__ import annotations

import msgspec
import numpy as np

from recsys.domain.arrays import Bool
from recsys.domain.shelf import Shelf
from recsys.domain.slates import PARTS
from recsys.rerank.ranker import Made
from recsys.rerank.signals import NAMES, PROVENANCE
from recsys.serve.parts import BundleParts

Amounts = dict[str, float]
Pair = tuple[int, int]
"""Row of a member, row of a sale."""


class Signal(msgspec.Struct, frozen=True):
    """One number that the value model knows of the member and the sale."""

    name: str
    meaning: str
    value: float
    adds: float
    """To the log-odds, against an average row that the model learned from."""


class Why(msgspec.Struct, frozen=True):
    """A sale before a member; parts are in units of value, and add up to utility."""

    slot: int | None
    """From 1; null = not on the slate."""
    rank: int | None
    """By utility among the sales the member may be shown, from 1; null = may not be shown."""
    of: int
    """How many those are."""
    because_not: str
    """Why it may not be shown; empty where it may."""
    parts: Amounts
    """appeal, fatigue, editor, novelty, floor, cap: what it brings whatever else is shown."""
    utility: float
    diversity: float | None
    """Worth of variety beside the slots before it; null = not on the slate."""
    signals: tuple[Signal, ...]
    """Those that move the value most, first."""


def why(parts: BundleParts, who: Pair, shelf: Shelf, *, slots: int, novelty: float | None) -> Why:
    """Explain a sale row to a member row on a shelf.

    A sale that is not on the shelf, or not in question for the member, has no parts.
    """
    member, sale = who
    on_shelf = np.flatnonzero(shelf.sales == sale)
    if not len(on_shelf):
        return absent("not on the shelf at that instant: closed, sold out or not yet open")
    if not parts.personalise[member]:
        return absent("the member has not agreed to slates of their own")
    orders = parts.ranker.house.terms(parts.shop, shelf, slots=slots).orders
    if orders.banned[on_shelf].any():
        return absent("banned by a rule of the house")
    rows = np.array([member], dtype=np.int64)
    made = parts.made(rows, shelf, slots=slots, novelty=novelty)
    sales = np.broadcast_to(made.asked.question.sales, made.offer.eligible.shape)[0]
    columns = np.flatnonzero(sales == sale)
    if not len(columns):
        return absent("not among the candidates: the shelf is long, and others are nearer")
    return _seen(parts, made, int(columns[0]))


def _seen(parts: BundleParts, made: Made, column: int) -> Why:
    amounts = made.offer.parts.amounts[:, 0]
    utility = made.offer.parts.utility()[0]
    allowed: Bool = made.offer.eligible[0]
    places = np.flatnonzero(made.picks.columns[0] == column)
    slot = int(places[0]) if len(places) else None
    better = int((utility[allowed] > utility[column]).sum())
    x = made.asked.x[0, column]
    adds = parts.ranker.value_model.model.contributions(x[None])[0]
    return Why(
        slot=None if slot is None else slot + 1,
        rank=better + 1 if allowed[column] else None,
        of=int(allowed.sum()),
        because_not="" if allowed[column] else "its vector gives no number with the member's",
        parts=dict(zip(PARTS[:-1], amounts[:, column].tolist(), strict=True)),
        utility=float(utility[column]),
        diversity=None if slot is None else float(made.picks.diversity[0, slot]),
        signals=tuple(
            Signal(NAMES[place], PROVENANCE[NAMES[place]], float(x[place]), float(adds[place]))
            for place in np.argsort(-np.abs(adds), kind="stable").tolist()
        ),
    )


def absent(because: str) -> Why:
    """Say why a sale is not in question for a member at all."""
    return Why(None, None, 0, because, {}, 0.0, None, ())
