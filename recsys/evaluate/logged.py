"""A frame of what was shown in, arrays of slates ready to be weighed out.

Columns, one row per place that was shown:

member           whose it was; whole members are drawn for the intervals
reward           what came of it: a click, a purchase, a margin
log_propensity   log chance that the log's policy gave this sale here; null or NaN = unknown
target_log_prob  log chance that the policy in question gives it, after the same places before
send, slot       which slate and which place in it; asked for where weights are of prefixes
q, q_target      a model's reward of what was shown, and on average of what the target shows
unsupported      the target's chance, here, of what the log's policy could never show
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys.domain.arrays import F64, I32, I64, Bool
from recsys.domain.errors import DataRefusedError

LOG, TARGET = "log_propensity", "target_log_prob"
NEEDED = ("member", "reward", LOG, TARGET)
MODEL = ("q", "q_target")
MAX_LOG_WEIGHT = 300.0
"""Larger log weights count as this: nothing near it gets past the gate, and sums stay finite."""
_ROUNDING = 1e-4
"""How far above 0 rounding may lift a sum of float32 log chances."""


@dataclass(frozen=True)
class Logged:
    """n slates of N slots; a slate that ended early has reward 0 and ratio 1 from there on."""

    members: I32
    """Number of each slate's member, I32[n]."""
    ratio: F64
    """Log of the target's chance over the log's at each slot, F64[n, N]."""
    reward: F64
    """F64[n, N]."""
    model: tuple[F64, F64] | None
    """q and q_target, F64[n, N] each."""
    unsupported: F64 | None
    """F64[n, N]."""
    left_out: float
    """Share of slates without a propensity."""

    @cached_property
    def weight(self) -> F64:
        """Product of the ratios of all slots up to each, F64[n, N]."""
        reached: F64 = np.exp(np.minimum(self.ratio.cumsum(axis=1), MAX_LOG_WEIGHT))
        return reached

    @cached_property
    def before(self) -> F64:
        """Product of the ratios of all slots before each, F64[n, N]."""
        return np.hstack([np.ones((len(self.ratio), 1)), self.weight[:, :-1]])


def read(frame: pl.DataFrame, *, target: str = TARGET, prefix: bool = False) -> Logged:
    """Read a frame of the columns above; `target` names the column of the policy in question.

    prefix: rows of one (member, send) are a slate; else each row stands for itself.

    Raises:
        DataRefusedError: a column is missing, or holds what no log can.
    """
    _check_columns(frame, (*NEEDED[:-1], target, *(("slot",) if prefix else ())))
    member = _numbers(frame, "member")
    unit, place = _places(frame, member) if prefix else _alone(frame.height)
    log = _floats(frame, LOG)
    lost = np.zeros(int(unit.max(initial=-1)) + 1, dtype=np.bool_)
    lost[unit[np.isnan(log)]] = True
    kept = np.flatnonzero(~lost[unit])
    aimed = _floats(frame, target)
    _check_chances({LOG: log[kept], target: aimed[kept]})
    first = np.unique(unit[kept], return_index=True)[1]
    row = (np.cumsum(~lost) - 1)[unit[kept]]
    shape = int((~lost).sum()), int(place.max(initial=0)) + 1

    def matrix(values: F64) -> F64:
        made = np.zeros(shape)
        made[row, place[kept]] = values[kept]
        return made

    has = set(frame.columns)
    return Logged(
        members=member[kept][first].astype(np.int32),
        ratio=matrix(aimed - log),
        reward=matrix(_known(frame, "reward", kept)),
        model=(matrix(_known(frame, "q", kept)), matrix(_known(frame, "q_target", kept)))
        if has.issuperset(MODEL)
        else None,
        unsupported=matrix(_known(frame, "unsupported", kept)) if "unsupported" in has else None,
        left_out=float(lost.mean()) if len(lost) else 0.0,
    )


def _check_columns(frame: pl.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise DataRefusedError(
            f"the log lacks {', '.join(missing)}",
            f"found: {', '.join(frame.columns)}",
            f"needed: {', '.join(needed)}",
        )


def _check_chances(chances: dict[str, F64]) -> None:
    for name, values in chances.items():
        wrong = np.isnan(values) | (values > _ROUNDING)
        if name == LOG:
            wrong |= np.isneginf(values)
        if wrong.any():
            raise DataRefusedError(
                f"{name} of {int(wrong.sum())} rows is no log of a chance",
                f"found: {values[wrong][0]}",
                "wanted: at most 0; above -inf for what was shown, which had a chance",
            )


def _numbers(frame: pl.DataFrame, name: str) -> I64:
    column = frame[name]
    if column.null_count():
        raise DataRefusedError(f"{name} of {column.null_count()} rows is null", "each needs one")
    # in the order of the ids, whatever the order of the rows
    return column.rank("dense").to_numpy().astype(np.int64) - 1


def _alone(num: int) -> tuple[I64, I64]:
    return np.arange(num), np.zeros(num, dtype=np.int64)


def _places(frame: pl.DataFrame, member: I64) -> tuple[I64, I64]:
    """Return the slate of each row and its place in it, from 0."""
    slot = _known(frame, "slot", np.arange(frame.height))
    send = _numbers(frame, "send") if "send" in frame.columns else np.zeros(len(member), np.int64)
    if not len(member):
        return member, member
    unit = np.unique(member * (send.max() + 1) + send, return_inverse=True)[1]
    place = (slot - slot.min()).astype(np.int64)
    order = np.lexsort((place, unit))
    begins = np.r_[True, np.diff(unit[order]) != 0]
    wanted = np.arange(len(order)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
    if not np.array_equal(place[order], wanted):
        raise DataRefusedError(
            "slots of a slate do not run from the first without gap or repeat",
            "a prefix needs each place before it; a row that was left out breaks the product",
            "do: name the slates of a member apart in a column `send`"
            if "send" not in frame.columns
            else "do: bring all rows of each (member, send)",
        )
    return unit, place


def _floats(frame: pl.DataFrame, name: str) -> F64:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _known(frame: pl.DataFrame, name: str, kept: I64) -> F64:
    values = _floats(frame, name)
    wrong: Bool = ~np.isfinite(values[kept])
    if wrong.any():
        raise DataRefusedError(f"{name} of {int(wrong.sum())} rows is null or no number")
    return values
