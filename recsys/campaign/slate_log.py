"""Slates in, the rows of the slate log out: all that was decided, and what it was decided with.

The columns are a contract: `recsys.campaign.slate_columns`, docs/slate-log.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import numpy as np
import polars as pl

from recsys.campaign.caps import Verdict
from recsys.campaign.keys import U64
from recsys.campaign.slate_columns import NO_SLOT, SLATE_LOG, kinds_of
from recsys.data.vocab import Vocab
from recsys.domain.arrays import F32, I16, I32, I64, NONE, U8, Bool
from recsys.domain.events import Channel
from recsys.domain.slates import (
    FLAG_EXPLORED,
    FLAG_PINNED,
    FLAG_REPAIRED,
    PARTS,
    Reason,
    Slates,
)
from recsys.domain.spec import Spec
from recsys.domain.verify import check_path
from recsys.rerank.dial import CONTEXTS
from recsys.rerank.utility import UTILITY_PARTS, ordered_sum

_CODES = 256
"""Room for reasons, and behind it for verdicts, in the table of their names."""
_SAID = pl.Series(
    [
        {int(code): code.name.lower() for code in kind}.get(number)
        for kind in (Reason, Verdict)
        for number in range(_CODES)
    ],
    dtype=pl.String,
)
_ROUNDING = 1e-5
"""How far a log of a chance may lie above 0."""


@dataclass(frozen=True)
class Served:
    """What a group of members is served by."""

    arm: str
    policy_id: str
    prices_id: str | None = None
    """None = no promises had a price."""


@dataclass(frozen=True)
class Send:
    """What is the same for all slates of one send; m members, s sales."""

    send_id: str
    """Letters, digits and . _ - alone: it names files."""
    decided_at: datetime
    """With a time zone."""
    delivered_for: datetime
    channel: Channel
    bundle: str
    seed: int
    members: Vocab
    sales: Vocab
    curated: Bool
    """Picked by an editor at that instant, Bool[s]."""
    served: tuple[Served, ...]
    group: I16
    """Which of `served` each member is in, I16[m] (such as `arms.assign` gives)."""
    rules: tuple[str, ...] = ()
    """Ids of the editors' rules in force."""

    def __post_init__(self) -> None:
        """Refuse what cannot be logged: naive or crossed instants, lengths that do not match."""
        check_path(self.send_id)
        if self.decided_at.tzinfo is None or self.delivered_for.tzinfo is None:
            raise ValueError("instants of a send need a time zone")
        if self.delivered_for < self.decided_at:
            raise ValueError(
                f"delivered for {self.delivered_for}, before it is decided at {self.decided_at}"
            )
        if len(self.group) != len(self.members) or len(self.curated) != len(self.sales):
            raise ValueError(
                f"{len(self.group)} groups of {len(self.members)} members, "
                f"{len(self.curated)} picks of {len(self.sales)} sales"
            )
        if len(self.group) and not 0 <= self.group.min() <= self.group.max() < len(self.served):
            raise ValueError(f"groups reach {self.group.max()}, {len(self.served)} are served")


@dataclass(frozen=True)
class Offered:
    """What stands beside the slates of some members: n members, N slots."""

    new: F32
    """0 = known to the member, 1 = new, F32[n, N]."""
    eligible_count: I64
    """I64[n]."""
    eligible_hash: U64
    """U64[n], see `eligible_hash`."""
    verdict: U8 | None = None
    """Whether each is sent at all, U8[n] (`caps.Verdict`); None = all are."""
    rule: I32 | None = None
    """Which of the send's rules stands behind a slot, I32[n, N], or NONE; None = nowhere one."""
    dial: F32 | None = None
    """Where the novelty dial stood, F32[n], NaN where nothing was chosen by it; None = nowhere."""
    dial_own: F32 | None = None
    """Where it stands where it is not drawn, likewise."""
    context: I64 | None = None
    """Which of `dial.CONTEXTS` a member is in, I64[n], or NONE; None = it is not known."""
    by_dial: F32 | None = None
    """As in `Picks`, NaN where dials were not drawn, F32[n, N, 1 + K]; None = they never were."""


@dataclass(frozen=True)
class _Cells:
    """The k rows of the log: members in their order, slots ascending."""

    row: I64
    slot: I64
    """0 where nothing is sent."""
    nothing: Bool
    """Nothing is sent: the member's one row."""


def policy_id(spec: Spec, value: str) -> str:
    """Name a policy: 16 hex digits of the slates' settings and of its value model's fingerprint."""
    said = json.dumps([spec.model_dump(mode="json"), value], sort_keys=True)
    return sha256(said.encode()).hexdigest()[:16]


def rows_of(slates: Slates, send: Send, offered: Offered) -> pl.DataFrame:
    """Return the log's rows of some members' slates, in the order and types of the contract.

    A member who is sent nothing has one row, of slot -1, whose reason is the verdict.

    Raises:
        ValueError: a member stands twice, or a log propensity is no log of a chance; NaN is one
            where the slot was repaired, and only there.
    """
    if (np.diff(np.sort(slates.members)) == 0).any():
        raise ValueError("a member has two slates in one send")
    cells = _cells(slates, offered)
    _check_chances(slates, cells)
    at = (cells.row, cells.slot)
    sale = np.where(cells.nothing, NONE, slates.sales[at])
    columns = (
        _of_send(send, slates.members[cells.row])
        | _of_sale(send, sale, slates.evidence[at])
        | _of_scores(slates, cells)
        | _of_dials(slates, cells, offered)
        | _of_flags(np.where(cells.nothing, 0, slates.flags[at]).astype(np.uint8))
        | {
            "slot": np.where(cells.nothing, NO_SLOT, cells.slot),
            "eligible_count": offered.eligible_count[cells.row],
            "eligible_hash": offered.eligible_hash[cells.row],
            "new_to_member": np.where(cells.nothing, np.float32(0), offered.new[at]),
            "reason": _reason(slates, cells, offered),
            "rule_id": _named(
                send.rules,
                np.full(len(sale), NONE)
                if offered.rule is None
                else np.where(cells.nothing, NONE, offered.rule[at]),
            ),
        }
    )
    kinds = kinds_of(SLATE_LOG)
    return pl.DataFrame([pl.Series(name, columns[name]).cast(kind) for name, kind in kinds.items()])


def _cells(slates: Slates, offered: Offered) -> _Cells:
    shown = slates.sales != NONE
    if offered.verdict is not None:
        shown = shown & (offered.verdict == Verdict.SEND)[:, None]
    # a place before the first slot for the members who are sent nothing
    row, place = np.nonzero(np.column_stack([~shown.any(axis=1), shown]))
    return _Cells(row=row, slot=np.maximum(place - 1, 0), nothing=place == 0)


def _check_chances(slates: Slates, cells: _Cells) -> None:
    logged = slates.log_propensity[cells.row, cells.slot]
    repaired = (slates.flags[cells.row, cells.slot] & FLAG_REPAIRED) > 0
    chance = np.isfinite(logged) & (logged <= _ROUNDING)
    wrong = ~np.where(repaired, np.isnan(logged), chance) & ~cells.nothing
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{int(wrong.sum())} log propensities are none: {logged[first]} "
            f"{'of a repaired slot' if repaired[first] else ''}; repaired slots have NaN, others "
            "the log of a chance above 0"
        )


def _of_send(send: Send, members: I64) -> dict[str, pl.Series]:
    same = {
        "send_id": send.send_id,
        "decided_at": send.decided_at,
        "delivered_for": send.delivered_for,
        "channel": send.channel.name.lower(),
        "bundle": send.bundle,
        "seed": send.seed,
    }
    kinds = kinds_of(SLATE_LOG)
    group = send.group[members]
    return {
        **{
            name: pl.Series(name, [value], dtype=kinds[name]).new_from_index(0, len(members))
            for name, value in same.items()
        },
        "member_id": send.members.names(members),
        "arm": _named([one.arm for one in send.served], group),
        "policy_id": _named([one.policy_id for one in send.served], group),
        "prices_id": _named([one.prices_id for one in send.served], group),
    }


def _of_sale(send: Send, sale: I64, evidence: I64) -> dict[str, pl.Series | np.ndarray]:
    shown = sale != NONE
    curated = np.zeros(len(sale), dtype=np.bool_)
    curated[shown] = send.curated[sale[shown]]
    return {
        "sale_id": send.sales.names(sale),
        "evidence_id": send.sales.names(np.where(shown, evidence, NONE)),
        "curated": curated,
    }


def _of_scores(slates: Slates, cells: _Cells) -> dict[str, pl.Series | np.ndarray]:
    at, none = (cells.row, cells.slot), np.float32(0)
    amounts = np.where(cells.nothing, none, np.moveaxis(slates.parts[at], -1, 0))
    utility = ordered_sum(amounts[: len(UTILITY_PARTS)])
    logged = np.where(cells.nothing, none, slates.log_propensity[at])
    return {
        **dict(zip(PARTS, amounts, strict=True)),
        "utility": utility,
        "gain": utility + amounts[-1],
        "margin": np.where(cells.nothing, none, slates.margin[at]),
        "log_propensity": pl.Series(logged, nan_to_null=True),
    }


def _of_dials(slates: Slates, cells: _Cells, offered: Offered) -> dict[str, pl.Series]:
    num, shown = len(slates.members), ~cells.nothing
    nowhere = np.full(num, np.nan, np.float32)
    dial = nowhere if offered.dial is None else offered.dial
    own = nowhere if offered.dial_own is None else offered.dial_own
    context = np.full(num, NONE, np.int64) if offered.context is None else offered.context
    at = (cells.row, cells.slot)
    by_dial = pl.Series([None], dtype=pl.List(pl.Float32)).new_from_index(0, len(cells.row))
    if offered.by_dial is not None:
        repaired = (slates.flags[at] & FLAG_REPAIRED) > 0
        chances = offered.by_dial[at]
        known = shown & ~repaired & ~np.isnan(chances).any(axis=1)
        listed = pl.Series(chances).cast(pl.List(pl.Float32))
        by_dial = listed.zip_with(pl.Series(known), by_dial)
    where = np.where(shown, context[cells.row], NONE)
    return {
        "dial": pl.Series(np.where(shown, dial[cells.row], np.nan), nan_to_null=True),
        "dial_own": pl.Series(np.where(shown, own[cells.row], np.nan), nan_to_null=True),
        "context": _named(CONTEXTS, where),
        "by_dial": by_dial,
    }


def _of_flags(flags: U8) -> dict[str, np.ndarray]:
    named = {"pinned": FLAG_PINNED, "explored": FLAG_EXPLORED, "repaired": FLAG_REPAIRED}
    return {name: (flags & flag) > 0 for name, flag in named.items()}


def _reason(slates: Slates, cells: _Cells, offered: Offered) -> pl.Series:
    """Name the reason of each row; where nothing is sent, the verdict."""
    verdict = np.full(len(slates.members), Verdict.SEND)
    if offered.verdict is not None:
        verdict = offered.verdict.astype(np.int64)
    # nothing forbade it: there was nothing to show
    verdict = np.where(verdict == Verdict.SEND, Verdict.NOTHING_TO_SHOW, verdict)
    code = slates.reason[cells.row, cells.slot].astype(np.int64)
    return _SAID.gather(np.where(cells.nothing, _CODES + verdict[cells.row], code))


def _named(names: Sequence[str | None], rows: np.ndarray) -> pl.Series:
    """Return the name of each row, text[k]; null for NONE."""
    table = pl.Series([*names, None], dtype=pl.String)
    return table.gather(np.where(rows == NONE, len(names), rows))
