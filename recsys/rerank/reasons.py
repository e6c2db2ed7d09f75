"""Why a sale holds its slot: reasons that are counterfactual, so that they cannot lie (DECISION 6).

A part of the gain is decisive where it is larger than the margin: without it another sale would
have had the slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, U8, Bool
from recsys.domain.events import Kind
from recsys.domain.slates import PARTS, Reason
from recsys.rerank.signals import LONG_AGO_DAYS, NAMES, Question
from recsys.rerank.value import Model

LAST_SALES = 20
"""Sales of a member's past that a slot may be likened to."""
ALIKE = 0.3
"""Least cosine that is called similar."""
ROUNDING = 1e-6
"""Share of the parts of a gain that may be rounding; no reason is made of less."""
TASTE, CROWD = NAMES.index("taste"), NAMES.index("popularity_day")
_STRANGE = {
    "own_engaged": 0.0,
    "own_bought": 0.0,
    "own_recent": 0.0,
    "own_since": float(np.log1p(LONG_AGO_DAYS)),
}
"""The signals of a sale the member never engaged with."""
_SENTENCES = {
    Reason.NOTHING: "on the shelf now",
    Reason.EDITOR_PIN: "placed here by an editor",
    Reason.TRYING_SOMETHING_NEW: "something different, to learn what you like",
    Reason.CURATOR_PICK: "picked by an editor",
    Reason.CURATOR_PICK_NEW_TO_YOU: "picked by an editor; {brand} is new to you",
    Reason.EDITOR_BOOST: "recommended by an editor",
    Reason.NEW_TO_YOU: "{brand} is new to you",
    Reason.BECAUSE_YOU_BOUGHT: "you bought {brand}",
    Reason.BECAUSE_YOU_LOOKED: "you looked at {brand}",
    Reason.ON_YOUR_WAIT_LIST: "you put it on your wait list",
    Reason.SIMILAR_TO: "like {sale}, which you looked at",
    Reason.POPULAR_NOW: "many members look at it now",
    Reason.FITS_YOUR_TASTE: "fits what you like",
    Reason.BOUGHT_BEFORE: "you bought it before",
}


def sentence(reason: Reason, *, brand: str, sale: str) -> str:
    """Write a reason for people; `brand` is that of the slot, `sale` what the reason points at.

    Where the brand is not known, the sale itself is named: it was what was bought or looked at.
    """
    if reason in {Reason.BECAUSE_YOU_BOUGHT, Reason.BECAUSE_YOU_LOOKED}:
        brand = brand or sale
    return _SENTENCES[reason].format(brand=brand or "it", sale=sale or "a sale")


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
    pinned: Bool
    """Placed by an editor."""
    x: F32
    """Signals, F32[k, len(NAMES)]."""
    typical: F32
    """Mean signals of the sales the member could have had, F32[k, len(NAMES)]."""


@dataclass(frozen=True)
class _Claim:
    """A reason that may be given for appeal."""

    reason: Reason
    signals: tuple[str, ...]
    """Whose contributions together speak for it."""
    holds: Bool
    """There is evidence, Bool[k]."""
    evidence: I64
    """I64[k]."""
    without: Mapping[str, F32 | float]
    """Signals as they were if it did not hold."""


def reasons(question: Question, won: Won, *, model: Model, kernel: F32 | None) -> tuple[U8, I64]:
    """Return the reason U8[k] of each slot and the sale that it points at, I64[k] or NONE.

    `kernel` F32[S, U] are the vectors of all sales, for likeness; None = no likeness is claimed.
    """
    reason, evidence = _of_appeal(_claims(question, won, kernel), won, model)
    editor, novelty, floor = (_decisive(won, part) for part in ("editor", "novelty", "floor"))
    # to a member without a past every brand is new, which is no reason for one of them
    never = question.last_engaged[won.row, won.column] == NONE
    never &= question.trail.counts[won.row] > 0
    picked = won.curated & (won.parts[:, PARTS.index("editor")] > 0)
    special = [
        ((reason == Reason.NOTHING) & picked, Reason.CURATOR_PICK),
        (novelty & never, Reason.NEW_TO_YOU),
        (editor, Reason.EDITOR_BOOST),
        ((editor | floor) & won.curated, Reason.CURATOR_PICK),
        ((editor | floor) & won.curated & never, Reason.CURATOR_PICK_NEW_TO_YOU),
        (won.drawn & (won.margin < 0), Reason.TRYING_SOMETHING_NEW),
        (won.pinned, Reason.EDITOR_PIN),
    ]
    # the last that applies wins: the order is that of DECISION 6, from the end
    for applies, name in special:
        reason[applies] = name
        evidence[applies] = NONE
    return reason, evidence


def _decisive(won: Won, part: str) -> Bool:
    """Return where another sale would have the slot without a part, by more than rounding."""
    rounding = ROUNDING * np.abs(won.parts).sum(axis=1)
    decisive: Bool = won.parts[:, PARTS.index(part)] > won.margin + rounding
    return decisive


def _of_appeal(claims: Sequence[_Claim], won: Won, model: Model) -> tuple[U8, I64]:
    """Name the signal that adds most, of those whose evidence raises the chance."""
    chance, contributions = model.predict(won.x), model.contributions(won.x)
    reason = np.full(len(won.row), Reason.NOTHING, dtype=np.uint8)
    evidence = np.full(len(won.row), NONE, dtype=np.int64)
    best = np.zeros(len(won.row), dtype=np.float32)
    for claim in claims:
        changed = won.x.copy()
        for name, amount in claim.without.items():
            changed[:, NAMES.index(name)] = amount
        added = contributions[:, [NAMES.index(name) for name in claim.signals]].sum(axis=1)
        better = claim.holds & (added > best) & (model.predict(changed) < chance)
        reason[better], evidence[better] = claim.reason, claim.evidence[better]
        best[better] = added[better]
    return reason, evidence


def _claims(question: Question, won: Won, kernel: F32 | None) -> tuple[_Claim, ...]:
    sales, cell = question.desk.shop.history.sale, (won.row, won.column)
    bought, looked = question.last_bought[cell], question.last_engaged[cell]
    on_list, again = (
        _own(question, kind)[cell] != NONE for kind in (Kind.WAIT_LIST, Kind.PURCHASE)
    )
    alike, cosine = _most_alike(question, won, kernel)
    none = np.full(len(won.row), NONE, dtype=np.int64)
    fits = won.x[:, TASTE] > won.typical[:, TASTE]
    tasteless = {"taste": won.typical[:, TASTE]}
    usual = won.typical[:, CROWD]
    crowded = won.x[:, CROWD] > usual
    return (
        _Claim(Reason.ON_YOUR_WAIT_LIST, tuple(_STRANGE), on_list, none, _STRANGE),
        _Claim(Reason.BOUGHT_BEFORE, tuple(_STRANGE), again, none, _STRANGE),
        _Claim(
            Reason.BECAUSE_YOU_BOUGHT,
            ("brand_bought",),
            bought != NONE,
            _sale(sales, bought),
            {"brand_bought": 0.0, "new": 1.0},
        ),
        _Claim(
            Reason.BECAUSE_YOU_LOOKED,
            ("brand_engaged",),
            looked != NONE,
            _sale(sales, looked),
            {"brand_engaged": 0.0, "new": 1.0},
        ),
        _Claim(Reason.SIMILAR_TO, ("taste",), fits & (cosine >= ALIKE), alike, tasteless),
        _Claim(
            Reason.FITS_YOUR_TASTE,
            ("taste",),
            fits & (question.trail.counts[won.row] > 0),
            none,
            tasteless,
        ),
        _Claim(Reason.POPULAR_NOW, ("popularity_day",), crowded, none, {"popularity_day": usual}),
    )


def _own(question: Question, kind: Kind) -> I64:
    """Return the member's last event of a kind with each very sale, I64[n, c], or NONE."""
    trail = question.trail
    these = trail.kind == kind
    return question.own.latest(trail.row[these], trail.sale[these], trail.event[these])


def _sale(sales: np.ndarray, event: I64) -> I64:
    found = np.full(len(event), NONE, dtype=np.int64)
    found[event != NONE] = sales[event[event != NONE]]
    return found


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
