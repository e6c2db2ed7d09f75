"""What was shown in, one request for each member and send before what it showed them out."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.data.asof import count_before, curated_at_opening, history_end
from recsys.data.targets import Outcomes
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.split import Block


def shown_requests(dataset: Dataset, block: Block, outcome_us: int) -> Requests:
    """Return the requests of a block: each a send to a member, its shelf what the send showed.

    A request has an engagement with one of these sales in [at, at + outcome_us); its past is what
    came strictly before the first of them was shown. Each has a group of its own.
    """
    sends = _sends(dataset, block)
    ptr = np.concatenate(([0], np.cumsum(sends["sale"].list.len().to_numpy()))).astype(np.int64)
    at, member = sends["at"].to_numpy(), sends["member"].to_numpy()
    sale = sends["sale"].explode(empty_as_null=False).to_numpy()
    history = dataset.history
    first = history_end(history, member, at)
    last = count_before(history.member_ptr, history.at, member, at=at + outcome_us)
    row = np.repeat(np.arange(len(sends)), last - first)
    event = np.arange(len(row)) + (first - np.concatenate(([0], np.cumsum(last - first)[:-1])))[row]
    of_send = np.repeat(np.arange(len(sends)), np.diff(ptr))
    hit = np.isin(row * dataset.num_sales + history.sale[event], of_send * dataset.num_sales + sale)
    outcomes = Outcomes.strongest(row[hit], history.sale[event[hit]], history.kind[event[hit]])
    asked, target_ptr = outcomes.rows()
    return Requests(
        group_at=at[asked],
        shelf_start=ptr[:-1][asked],
        shelf_end=ptr[1:][asked],
        shelf_sale=sale,
        shelf_curated=curated_at_opening(dataset.shop)[sale],
        member=member[asked],
        at=at[asked],
        group=np.arange(len(asked), dtype=np.int32),
        history_end=first[asked],
        target_ptr=target_ptr,
        target_sale=outcomes.sale,
        target_kind=outcomes.kind,
        target_weight=outcomes.weights(),
        outcome_us=outcome_us,
    )


def _sends(dataset: Dataset, block: Block) -> pl.DataFrame:
    """Return member, at and the distinct sales of each send of a block, by time and member."""
    return (
        dataset.exposures
        .group_by("send", "member")
        .agg(pl.col("at").min(), pl.col("sale").unique().sort())
        .filter(pl.col("at").is_between(block.start, block.last))
        .sort("at", "member", "send")
    )
