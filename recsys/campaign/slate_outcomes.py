"""What members did with what they were sent: outcomes joined to the rows of the slate log."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recsys.campaign.slate_columns import KEY, OUTCOMES, check_rows, kinds_of, refuse_repeats
from recsys.domain.errors import DataRefusedError

RENAMED = {"margin": "earned", "at": "responded_at"}
"""Outcome column -> its name beside the log's columns, where `margin` is that of a gain."""
_NEEDED = (*KEY, "delivered_for")


@dataclass(frozen=True)
class Joined:
    """Rows of the log with what became of them, and the outcomes that fit none."""

    rows: pl.DataFrame
    """The log's rows, in their order, and opened, clicked, visited, bought, earned, unsubscribed,
    responded_at; without a response false, 0 and null."""
    unknown: int
    """Outcomes of slots that are not in the log, left out."""
    too_early: int
    """Outcomes from before the send was delivered, left out: they cannot be responses to it."""


def added_up(told: pl.DataFrame) -> pl.DataFrame:
    """Make one outcome a slot of what was told of it bit by bit, and maybe twice.

    What was true once is true, what was earned is the most that was told, the first instant counts.
    """
    kinds = kinds_of(OUTCOMES)
    did = [name for name, kind in kinds.items() if kind == pl.Boolean()]
    return (
        told
        .group_by(KEY, maintain_order=True)
        .agg(pl.col(did).any(), pl.col("margin").max(), pl.col("at").min())
        .select(*kinds)
    )


def join_outcomes(log: pl.LazyFrame, outcomes: pl.DataFrame, *, in_bits: bool = False) -> Joined:
    """Join outcomes to rows of the log on send, member and slot; what fits none is counted.

    Give the part of the log that a question is about: some sends, some columns, among them the
    key and delivered_for. That part is held in memory. Outcomes that are told bit by bit are
    `added_up`, without those from before the send.

    Raises:
        DataRefusedError: outcomes break their contract, the log lacks a column this needs, or two
            rows of either share their key.
    """
    check_rows(outcomes, OUTCOMES, "outcomes")
    if not in_bits:
        refuse_repeats(outcomes, "outcomes")
    lacking = [name for name in _NEEDED if name not in log.collect_schema().names()]
    if lacking:
        raise DataRefusedError(f"the slate log was read without {', '.join(lacking)}")
    rows = log.collect()
    refuse_repeats(rows, "the slate log")
    known = outcomes.join(rows.select(_NEEDED), on=KEY)
    fitting = known.filter(pl.col("at") >= pl.col("delivered_for")).drop("delivered_for")
    responses = added_up(fitting) if in_bits else fitting
    return Joined(
        rows=_with(rows, responses.rename(RENAMED)),
        unknown=outcomes.height - known.height,
        too_early=known.height - fitting.height,
    )


def _with(rows: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Add the responses; a slot without one was not opened, clicked, visited or bought from."""
    did = [name for name, kind in responses.schema.items() if kind == pl.Boolean]
    return rows.join(responses, on=KEY, how="left", maintain_order="left").with_columns(
        pl.col(did).fill_null(value=False), pl.col("earned").fill_null(0)
    )
