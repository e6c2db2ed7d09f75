"""Why a sale holds its slot: reasons that are counterfactual, so that they cannot lie (DECISION 6).

A part of the gain is decisive where it is larger than the margin: without it another sale would
have had the slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, U8, Bool
from recsys.domain.events import Kind
from recsys.domain.slates import PARTS, Reason
from recsys.rerank.signals import NAMES, Question

LAST_SALES = 20
"""Sales of a member's past that a slot may be likened to."""
ALIKE = 0.3
"""Least cosine that is called similar."""
_SENTENCES = {
    Reason.NOTHING: "on the shelf now",
    Reason.EDITOR_PIN: "placed here by an editor",
    Reason.TRYING_SOMETHING_NEW: "something different, to learn what you like",
    Reason.CURATOR_PICK: "picked by an editor",
    Reason.CURATOR_PICK_NEW_TO_YOU: "new to you, picked by an editor",
    Reason.EDITOR_BOOST: "recommended by an editor",
    Reason.NEW_TO_YOU: "{brand} is new to you",
    Reason.BECAUSE_YOU_BOUGHT: "you bought {brand}",
    Reason.BECAUSE_YOU_LOOKED: "you looked at {brand}",
    Reason.ON_YOUR_WAIT_LIST: "you put it on your wait list",
    Reason.SIMILAR_TO: "like {sale}, which you looked at",
    Reason.POPULAR_NOW: "many members look at it now",
    Reason.FITS_YOUR_TASTE: "fits what you like",
}


def sentence(reason: Reason, *, brand: str, sale: str) -> str:
    """Write a reason for people; `brand` is that of the slot, `sale` what the reason points at."""
    if reason in {Reason.NEW_TO_YOU, Reason.BECAUSE_YOU_BOUGHT, Reason.BECAUSE_YOU_LOOKED}:
        return _SENTENCES[reason].format(brand=brand or "this brand")
    if reason is Reason.SIMILAR_TO:
        return _SENTENCES[reason].format(sale=sale or "a sale")
    return _SENTENCES[reason]


@dataclass(frozen=True)
class Won:
    """Slots that were filled: k of them, each of one member and one sale."""

    row: I64
    """Which of the n requests, I64[k]."""
    column: I64
    """Which of the c sales in question, I64[k]."""
    sale: I64
    parts: F32
    """F32[k, len(PARTS)]."""
    margin: F32
    curated: Bool
    drawn: Bool
    """Filled by a draw, not by the largest gain."""
    contributions: F32
    """What each signal adds to the log-odds, F32[k, len(NAMES)]."""
    new: F32


def reasons(question: Question, won: Won, kernel: F32 | None) -> tuple[U8, I64]:
    """Return the reason U8[k] of each slot and the sale that it points at, I64[k] or NONE.

    `kernel` F32[S, U] are the vectors of all sales, for likeness; None = no likeness is claimed.
    """
    reason, evidence = _of_appeal(question, won, kernel)
    decisive = {
        part: (won.parts[:, PARTS.index(part)] > won.margin) & np.isfinite(won.margin)
        for part in ("editor", "novelty")
    }
    never = won.new >= 1.0
    special = [
        (decisive["novelty"] & (won.new > 0.5), Reason.NEW_TO_YOU),
        (decisive["editor"], Reason.EDITOR_BOOST),
        (decisive["editor"] & won.curated, Reason.CURATOR_PICK),
        (decisive["editor"] & won.curated & never, Reason.CURATOR_PICK_NEW_TO_YOU),
        (won.drawn & (won.margin < 0), Reason.TRYING_SOMETHING_NEW),
    ]
    # the last that applies wins: the order is that of DECISION 6, from the end
    for applies, name in special:
        reason[applies] = name
        evidence[applies] = NONE
    return reason, evidence


def _of_appeal(question: Question, won: Won, kernel: F32 | None) -> tuple[U8, I64]:
    """Name the signal that adds most among those with evidence."""
    history = question.desk.shop.history
    bought = question.last_bought[won.row, won.column]
    trail = question.trail
    by_brand = question.maker.latest(trail.row, question.desk.maker[trail.sale], trail.event)
    looked = by_brand[won.row, won.column]
    waiting = trail.kind == Kind.WAIT_LIST
    on_list = question.own.latest(trail.row[waiting], trail.sale[waiting], trail.event[waiting])[
        won.row, won.column
    ]
    alike, cosine = _most_alike(question, won, kernel)
    none = np.full(len(won.row), NONE, dtype=np.int64)
    options = (
        (Reason.ON_YOUR_WAIT_LIST, "own_engaged", on_list != NONE, none),
        (Reason.BECAUSE_YOU_BOUGHT, "brand_bought", bought != NONE, _sale(history.sale, bought)),
        (Reason.BECAUSE_YOU_LOOKED, "brand_engaged", looked != NONE, _sale(history.sale, looked)),
        (Reason.SIMILAR_TO, "taste", cosine >= ALIKE, alike),
        (Reason.FITS_YOUR_TASTE, "taste", trail.counts[won.row] > 0, none),
        (Reason.POPULAR_NOW, "popularity_day", none == NONE, none),
        (Reason.POPULAR_NOW, "brand_popularity", none == NONE, none),
    )
    reason = np.full(len(won.row), Reason.NOTHING, dtype=np.uint8)
    evidence, best = none.copy(), np.zeros(len(won.row), dtype=np.float32)
    for name, signal, holds, pointed in options:
        added = won.contributions[:, NAMES.index(signal)]
        better = holds & (added > best)
        reason[better], evidence[better], best[better] = name, pointed[better], added[better]
    return reason, evidence


def _on_wait_list(question: Question) -> I64:
    trail = question.trail
    waiting = trail.kind == Kind.WAIT_LIST
    return question.own.latest(trail.row[waiting], trail.sale[waiting], trail.event[waiting])


def _sale(sales: np.ndarray, event: I64) -> I64:
    return np.where(event == NONE, NONE, sales[np.maximum(event, 0)]).astype(np.int64)


def _most_alike(question: Question, won: Won, kernel: F32 | None) -> tuple[I64, F32]:
    """Return the sale of the member's late past most like each slot's, and the cosine."""
    if kernel is None:
        return np.full(len(won.row), NONE), np.full(len(won.row), -1, dtype=np.float32)
    past = question.trail.latest_sales(LAST_SALES)[won.row]
    cosines = np.einsum("klu,ku->kl", kernel[np.maximum(past, 0)], kernel[won.sale])
    cosines[(past == NONE) | (past == won.sale[:, None])] = -1
    best = cosines.argmax(axis=1)
    each = np.arange(len(best))
    found = cosines[each, best]
    return np.where(found > -1, past[each, best], NONE), found
