"""Where the novelty dial stands for whom, and what a draw of it does to chances (DECISION 8).

A member's context is whether their past is shorter or longer than that of half of the members who
have one, and their fifth by appetite among those like them; or that they have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, ValidationError

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.domain.errors import SettingError
from recsys.domain.events import ChannelName
from recsys.domain.spec import NonNegative, Spec
from recsys.rerank.appetite import LEAST_MEMBERS, Appetite
from recsys.rerank.signals import Question
from recsys.rerank.spec import FIFTHS, Blend, Pure, Rerank, Spaced, five_or_none

FifthsOrAsIs = Annotated[tuple[NonNegative | None, ...], AfterValidator(five_or_none)]
"""A number for each fifth of the members, null where it stays, or none."""

_ROUNDING = 1e-12

GRID = (0.0, 0.35, 0.7, 1.4, 2.8)
"""Dials that one is drawn from (DECISION 8)."""
CONTEXTS = (
    "none",
    *(f"{past}{fifth}" for past in ("short", "long") for fifth in range(1, FIFTHS + 1)),
)
"""none = no past; short1 = a short past and little appetite for what is new, ..., long5."""


def context_of(question: Question) -> I64:
    """Return which of CONTEXTS each member is in, I64[n], or NONE where nothing parts members."""
    usual, touches = question.desk.appetite, question.touches
    if usual.fifths is None:
        return np.full(question.trail.num, NONE, dtype=np.int64)
    touched = touches.before + touches.all
    long = (touched >= usual.length).astype(np.int64)
    cuts = np.array(usual.fifths, dtype=np.float32)[long]
    fifth = (question.appetite[:, None] >= cuts).sum(axis=1)
    return np.where(touched > 0, 1 + fifth + FIFTHS * long, 0)


def dial_of(question: Question, plan: Blend | Spaced) -> F32:
    """Return where the dial stands for each member, F32[n]."""
    if not (plan.novelty_short or plan.novelty_long):
        return np.full(question.trail.num, plan.novelty, dtype=np.float32)
    # NONE reads the last
    table = np.array([*plan.dials, plan.novelty], dtype=np.float32)
    dials: F32 = table[context_of(question)]
    return dials


def dial_for_all(plan: Blend | Spaced) -> float | None:
    """Return where the dial stands for all members alike; None = not for all alike."""
    by_context = plan.novelty_short or plan.novelty_long or plan.novelty_drawn
    return None if by_context else plan.novelty


def dials_said(plan: Blend | Spaced) -> str:
    """Say in words where the dial stands, where that is not one number for all; else nothing."""
    said = "by context" if plan.novelty_short or plan.novelty_long else f"{plan.novelty:g}"
    drawn_too = f"; drawn for {plan.novelty_drawn:.0%} of the slates" if plan.novelty_drawn else ""
    return "" if dial_for_all(plan) is not None else said + drawn_too


def drawn(own: F32, draw: F64, share: float) -> F32:
    """Return the dials F32[n] of slates: of GRID, each alike, with a chance of `share`.

    `own` F32[n] are those that stand otherwise, `draw` F64[n] in [0, 1).
    """
    place = np.minimum(draw / max(share, np.finfo(np.float64).tiny) * len(GRID), len(GRID) - 1)
    return np.where(draw < share, np.array(GRID, np.float32)[place.astype(np.int64)], own)


def blended(by_dial: F32, share: float) -> F32:
    """Return the log chance F32[n, N] of each slot, given the slots before, where dials are drawn.

    `by_dial` F32[n, N, 1 + len(GRID)] are the same with the dial unmoved and at each of GRID. The
    chance of the slots up to one is the mean over dials of those chances, weighed by the draw's;
    a slot's own is that over the one of the slots before it.
    """
    with np.errstate(divide="ignore"):
        weight = np.log(np.array([1 - share, *(share / len(GRID) for _ in GRID)]))
    reached = by_dial.cumsum(axis=1, dtype=np.float64) + weight
    whole = np.logaddexp.reduce(reached, axis=2)
    before = np.concatenate([np.zeros((len(whole), 1)), whole[:, :-1]], axis=1)
    never = np.isneginf(whole)
    chance = np.where(never, -np.inf, whole - np.where(np.isneginf(before), 0, before))
    # what is certain at each dial is certain, to the last bit
    return np.where(chance > -_ROUNDING, 0.0, chance).astype(np.float32)


class DialTable(Spec):
    """The dial by context, as `recsys dial` finds it and slates read it."""

    channel: ChannelName = "mail"
    """The channel of the log it was found in."""
    novelty: NonNegative | None = None
    """As `rerank.novelty`, of members without a past; null = as it stands."""
    novelty_short: FifthsOrAsIs = ()
    """As `rerank.novelty_short`; null = as it stands, [] = all as they stand."""
    novelty_long: FifthsOrAsIs = ()
    """As `rerank.novelty_long`."""
    evidence: tuple[str, ...] = ()
    """In words, what it stands on."""

    def put(self, plan: Blend | Spaced) -> Blend | Spaced:
        """Return the settings of slates with these dials."""
        as_is = (None,) * FIFTHS
        found = (self.novelty, *(self.novelty_short or as_is), *(self.novelty_long or as_is))
        dials = tuple(
            old if new is None else new for new, old in zip(found, plan.dials, strict=True)
        )
        return plan.model_copy(
            update={
                "novelty": dials[0],
                "novelty_short": dials[1 : 1 + FIFTHS],
                "novelty_long": dials[1 + FIFTHS :],
            }
        )


def dialled(
    rerank: Rerank,
    usual: Appetite,
    *,
    table: DialTable | None = None,
    drawn: float | None = None,
) -> Rerank:
    """Return the settings of slates with other dials, or with dials drawn for a share of slates.

    Raises:
        SettingError: such slates have no dial, or what is known of members parts them not.
    """
    if table is None and drawn is None:
        return rerank
    if isinstance(rerank, Pure):
        raise SettingError(
            "rerank=pure has no novelty dial", "train with rerank=blend, or leave out the dial"
        )
    if usual.fifths is None:
        raise SettingError(
            "this bundle cannot tell members by their appetite for what is new",
            f"an earlier version made it, or fewer than {LEAST_MEMBERS} members had a past",
            "train again: python train.py",
        )
    plan = rerank if table is None else table.put(rerank)
    return plan if drawn is None else plan.model_copy(update={"novelty_drawn": drawn})


def read_table(file: Path, *, channel: str | None = None) -> DialTable:
    """Read what `recsys dial` wrote; `channel` is where the slates will be shown, None = anywhere.

    Raises:
        SettingError: there is no such file, it says no dials, or is for another channel.
    """
    if not file.is_file():
        raise SettingError(f"dial={file} is no file", "recsys dial makes one of a slate log")
    try:
        table = DialTable.model_validate_json(file.read_bytes())
    except ValidationError as refused:
        first = refused.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise SettingError(
            f"dial={file}: {where}: {first['msg']}", "recsys dial makes one of a slate log"
        ) from None
    if channel is not None and table.channel != channel:
        raise SettingError(
            f"dial={file} was found in a log of channel {table.channel}, these slates are for "
            f"{channel}",
            f"find one for {channel}: recsys dial channel={channel}",
        )
    return table
