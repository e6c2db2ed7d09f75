"""Why a sale holds its slot: reasons that are counterfactual, so that they cannot lie (DECISION 6).

A part of the gain is decisive where it is larger than the margin: without it another sale would
have had the slot.

What a signal adds to the chance is told by the model; of trees, whose contributions take
milliseconds a member, it is what the log-odds lose without the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, U8, Bool
from recsys.domain.events import Kind
from recsys.domain.slates import PARTS, Reason
from recsys.rerank.calibrate import log_odds
from recsys.rerank.signals import LONG_AGO_DAYS, NAMES, Question
from recsys.rerank.value import Boosted, Model

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

    def take(self, slots: I64) -> Won:
        """Return some of the slots, I64[j]."""
        return Won(*(getattr(self, field.name)[slots] for field in fields(self)))


@dataclass(frozen=True)
class _Claim:
    """Reasons that may be given for appeal, which the same signals speak for."""

    signals: tuple[str, ...]
    """Whose contributions together speak for them."""
    without: Mapping[str, F32 | float]
    """Signals as they were if there was no evidence."""
    reason: U8
    """The first that has evidence, U8[k], or NOTHING."""
    evidence: I64
    """I64[k]."""


def reasons(question: Question, won: Won, *, model: Model, kernel: F32 | None) -> tuple[U8, I64]:
    """Return the reason U8[k] of each slot and the sale that it points at, I64[k] or NONE.

    `kernel` F32[S, U] are the vectors of all sales, for likeness; None = no likeness is claimed.
    """
    reason = _special(question, won)
    evidence = np.full(len(won.row), NONE, dtype=np.int64)
    rest = np.flatnonzero(reason == Reason.NOTHING)
    if len(rest):
        left = won.take(rest)
        reason[rest], evidence[rest] = _of_appeal(_claims(question, left, kernel), left, model)
    picked = won.curated & (won.parts[:, PARTS.index("editor")] > 0)
    reason[picked & (reason == Reason.NOTHING)] = Reason.CURATOR_PICK
    return reason, evidence


def _special(question: Question, won: Won) -> U8:
    """Return the reasons that come before appeal, U8[k], or NOTHING."""
    editor, novelty, floor = (_decisive(won, part) for part in ("editor", "novelty", "floor"))
    # to a member without a past every brand is new, which is no reason for one of them
    never = question.last_engaged[won.row, won.column] == NONE
    never &= question.trail.counts[won.row] > 0
    reason = np.full(len(won.row), Reason.NOTHING, dtype=np.uint8)
    # the last that applies wins: the order is that of DECISION 6, from the end
    reason[novelty & never] = Reason.NEW_TO_YOU
    reason[editor] = Reason.EDITOR_BOOST
    reason[(editor | floor) & won.curated] = Reason.CURATOR_PICK
    reason[(editor | floor) & won.curated & never] = Reason.CURATOR_PICK_NEW_TO_YOU
    reason[won.drawn & (won.margin < 0)] = Reason.TRYING_SOMETHING_NEW
    reason[won.pinned] = Reason.EDITOR_PIN
    return reason


def _decisive(won: Won, part: str) -> Bool:
    """Return where another sale would have the slot without a part, by more than rounding."""
    rounding = ROUNDING * np.abs(won.parts).sum(axis=1)
    decisive: Bool = won.parts[:, PARTS.index(part)] > won.margin + rounding
    return decisive


def _of_appeal(claims: Sequence[_Claim], won: Won, model: Model) -> tuple[U8, I64]:
    """Name the signal that adds most, of those whose evidence raises the chance."""
    chance = model.predict(won.x)
    reason = np.full(len(won.row), Reason.NOTHING, dtype=np.uint8)
    evidence = np.full(len(won.row), NONE, dtype=np.int64)
    best = np.zeros(len(won.row), dtype=np.float32)
    for claim in claims:
        slots = np.flatnonzero(claim.reason != Reason.NOTHING)
        if not len(slots):
            continue
        without = model.predict(_without(claim, won.x, slots))
        added = _added(model, claim, won.x[slots], lost=(chance[slots], without))
        better = (added > best[slots]) & (without < chance[slots])
        slots = slots[better]
        reason[slots], evidence[slots] = claim.reason[slots], claim.evidence[slots]
        best[slots] = added[better]
    return reason, evidence


def _without(claim: _Claim, x: F32, slots: I64) -> F32:
    """Return the signals of some slots as they were without a claim's evidence, F32[j, F]."""
    changed = x[slots]
    for name, amount in claim.without.items():
        changed[:, NAMES.index(name)] = amount if isinstance(amount, float) else amount[slots]
    return changed


def _added(model: Model, claim: _Claim, x: F32, *, lost: tuple[F32, F32]) -> F32:
    """Return what a claim's signals F32[j, F] add to the log-odds, F32[j].

    `lost` are the chances with and without its evidence, F32[j] each.
    """
    if isinstance(model, Boosted):
        before, after = (log_odds(chance) for chance in lost)
        return (before - after).astype(np.float32)
    columns = [NAMES.index(name) for name in claim.signals]
    added: F32 = model.contributions(x)[:, columns].sum(axis=1)
    return added


def _claims(question: Question, won: Won, kernel: F32 | None) -> tuple[_Claim, ...]:
    sales, cell = question.desk.shop.history.sale, (won.row, won.column)
    bought, looked = question.last_bought[cell], question.last_engaged[cell]
    on_list, again = (
        _own(question, kind)[cell] != NONE for kind in (Kind.WAIT_LIST, Kind.PURCHASE)
    )
    none = np.full(len(won.row), NONE, dtype=np.int64)
    fits = won.x[:, TASTE] > won.typical[:, TASTE]
    fits &= question.trail.counts[won.row] > 0
    alike = _alike(question, won, kernel, asked=fits)
    usual = won.typical[:, CROWD]
    return (
        _Claim(
            tuple(_STRANGE),
            _STRANGE,
            _first((on_list, Reason.ON_YOUR_WAIT_LIST), (again, Reason.BOUGHT_BEFORE)),
            none,
        ),
        _Claim(
            ("brand_bought",),
            {"brand_bought": 0.0, "new": 1.0},
            _first((bought != NONE, Reason.BECAUSE_YOU_BOUGHT)),
            _sale(sales, bought),
        ),
        _Claim(
            ("brand_engaged",),
            {"brand_engaged": 0.0, "new": 1.0},
            _first((looked != NONE, Reason.BECAUSE_YOU_LOOKED)),
            _sale(sales, looked),
        ),
        _Claim(
            ("taste",),
            {"taste": won.typical[:, TASTE]},
            _first((alike != NONE, Reason.SIMILAR_TO), (fits, Reason.FITS_YOUR_TASTE)),
            alike,
        ),
        _Claim(
            ("popularity_day",),
            {"popularity_day": usual},
            _first((won.x[:, CROWD] > usual, Reason.POPULAR_NOW)),
            none,
        ),
    )


def _first(*asked: tuple[Bool, Reason]) -> U8:
    """Return the first reason that holds, U8[k], or NOTHING."""
    first = np.full(asked[0][0].shape, Reason.NOTHING, dtype=np.uint8)
    for holds, reason in reversed(asked):
        first[holds] = reason
    return first


def _own(question: Question, kind: Kind) -> I64:
    """Return the member's last event of a kind with each very sale, I64[n, c], or NONE."""
    trail = question.trail
    return question.own.latest(question.by_sale.of(trail.kind == kind), trail.event)


def _sale(sales: np.ndarray, event: I64) -> I64:
    found = np.full(len(event), NONE, dtype=np.int64)
    found[event != NONE] = sales[event[event != NONE]]
    return found


def _alike(question: Question, won: Won, kernel: F32 | None, *, asked: Bool) -> I64:
    """Return the sale of the member's late past most like each slot's, I64[k].

    NONE where not `asked` Bool[k], or where none is alike.
    """
    found = np.full(len(won.row), NONE, dtype=np.int64)
    slots = np.flatnonzero(asked)
    if kernel is None or not len(slots):
        return found
    past, sale = question.trail.latest_sales(LAST_SALES)[won.row[slots]], won.sale[slots]
    cosines = np.einsum("klu,ku->kl", kernel[np.maximum(past, 0)], kernel[sale])
    cosines[(past == NONE) | (past == sale[:, None])] = -1
    best = cosines.argmax(axis=1)
    each = np.arange(len(best))
    found[slots] = np.where(cosines[each, best] >= ALIKE, past[each, best], NONE)
    return found
