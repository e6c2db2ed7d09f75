"""Where the novelty dial stands for whom, and what a draw of it does to chances (DECISION 8).

A member's context is whether their past is shorter or longer than that of half of all members, and
their fifth by appetite among those like them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, ValidationError

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.errors import SettingError
from recsys.domain.spec import NonNegative, Spec
from recsys.rerank.signals import Question
from recsys.rerank.spec import FIFTHS, Blend, Pure, Rerank, Spaced, five_or_none

FifthsOrAsIs = Annotated[tuple[NonNegative | None, ...], AfterValidator(five_or_none)]
"""A number for each fifth of the members, null where it stays, or none."""

GRID = (0.0, 0.35, 0.7, 1.4, 2.8)
"""Dials that one is drawn from (DECISION 8)."""
CONTEXTS = tuple(f"{past}{fifth}" for past in ("short", "long") for fifth in range(1, FIFTHS + 1))
"""short1 = a short past and little appetite for what is new, ..., long5."""


def context_of(question: Question) -> I64:
    """Return which of CONTEXTS each member is in, I64[n]."""
    usual, touches = question.desk.appetite, question.touches
    long = (touches.before + touches.all >= usual.length).astype(np.int64)
    cuts = np.array(usual.fifths, dtype=np.float32)[long]
    context: I64 = (question.appetite[:, None] >= cuts).sum(axis=1) + FIFTHS * long
    return context


def dial_of(question: Question, plan: Blend | Spaced) -> F32:
    """Return where the dial stands for each member, F32[n]."""
    num = question.trail.num
    if not (plan.novelty_short or plan.novelty_long):
        return np.full(num, plan.novelty, dtype=np.float32)
    same = (plan.novelty,) * FIFTHS
    table = np.array([*(plan.novelty_short or same), *(plan.novelty_long or same)], np.float32)
    dials: F32 = table[context_of(question)]
    return dials


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
    return np.minimum(chance, 0).astype(np.float32)


class DialTable(Spec):
    """The dial by context, as `recsys dial` finds it and slates read it."""

    channel: Literal["web", "app", "mail", "shop", "other"] = "mail"
    """The channel of the log it was found in."""
    novelty_short: FifthsOrAsIs = ()
    """As `rerank.novelty_short`; null = as it stands, [] = all as they stand."""
    novelty_long: FifthsOrAsIs = ()
    """As `rerank.novelty_long`."""
    evidence: tuple[str, ...] = ()
    """In words, what it stands on."""

    def put(self, spec: Rerank) -> Blend | Spaced:
        """Return the settings of slates with these dials.

        Raises:
            SettingError: such slates have no dial.
        """
        if isinstance(spec, Pure):
            raise SettingError(
                "rerank=pure has no novelty dial", "train with rerank=blend, or name no dial=FILE"
            )
        same = (spec.novelty,) * FIFTHS
        pasts = (
            ("novelty_short", self.novelty_short, spec.novelty_short or same),
            ("novelty_long", self.novelty_long, spec.novelty_long or same),
        )
        new = {
            name: tuple(before if b is None else b for b, before in zip(mine, now, strict=True))
            for name, mine, now in pasts
            if mine
        }
        return spec.model_copy(update=new)


def read_table(file: Path, *, channel: str | None = None) -> DialTable:
    """Read what `recsys dial` wrote; `channel` is where the slates will be shown, None = anywhere.

    Raises:
        SettingError: there is no such file, it says no dials, or is for another channel.
    """
    if not file.is_file():
        raise SettingError(f"dial={file}: no such file", "recsys dial makes one of a slate log")
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
