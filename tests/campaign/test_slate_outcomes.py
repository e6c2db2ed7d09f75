from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys.campaign.slate_columns import KEY, OUTCOMES, kinds_of
from recsys.campaign.slate_log import rows_of
from recsys.campaign.slate_outcomes import join_outcomes
from recsys.domain.errors import DataRefusedError
from tests.campaign.logged import NOON, offered_for, send_of, slates_of


def log() -> pl.DataFrame:
    slates = slates_of(1, np.arange(40))
    return rows_of(slates, send_of(), offered_for(slates))


def outcomes_of(keys: pl.DataFrame, *, minutes: int = 5) -> pl.DataFrame:
    """A click on each of the rows, a purchase on every second, so long after delivery."""
    number = pl.int_range(pl.len())
    made = keys.select(
        *KEY,
        opened=True,
        clicked=True,
        visited=False,
        bought=number % 2 == 0,
        margin=(number * 1.5).cast(pl.Float32),
        unsubscribed=False,
        at=pl.lit(NOON + timedelta(minutes=minutes)).cast(kinds_of(OUTCOMES)["at"]),
    )
    return made.select(*kinds_of(OUTCOMES))


def test_each_row_of_the_log_gets_its_own_outcome_or_none() -> None:
    rows = log()
    some = rows.filter(pl.col("slot") >= 0)[::3].sample(fraction=1.0, shuffle=True, seed=1)
    outcomes = outcomes_of(some)
    joined = join_outcomes(rows.lazy(), outcomes)
    assert (joined.unknown, joined.too_early) == (0, 0)
    assert joined.rows.select(rows.columns).equals(rows, null_equal=True)
    said = {tuple(one[name] for name in KEY): one for one in outcomes.to_dicts()}
    for row in joined.rows.to_dicts():
        did = said.get(tuple(row[name] for name in KEY))
        assert row["clicked"] is row["opened"] is (did is not None)
        assert row["bought"] is (did is not None and did["bought"])
        assert row["earned"] == (did["margin"] if did else 0)
        assert row["responded_at"] == (did["at"] if did else None)
        assert row["visited"] is row["unsubscribed"] is False


def test_outcomes_that_fit_no_row_or_come_before_the_send_are_counted_and_left_out() -> None:
    rows = log().filter(pl.col("slot") >= 0)
    strange = outcomes_of(rows[:3]).with_columns(send_id=pl.lit("thursday"))
    early = outcomes_of(rows[3:5], minutes=-1)
    same_instant = outcomes_of(rows[5:6], minutes=0)
    joined = join_outcomes(rows.lazy(), pl.concat([strange, early, same_instant]))
    assert (joined.unknown, joined.too_early) == (3, 2)
    assert joined.rows["clicked"].to_list() == [row == 5 for row in range(rows.height)]


def test_two_outcomes_of_one_slot_or_two_rows_of_one_key_are_refused() -> None:
    rows = log()
    outcomes = outcomes_of(rows[:4])
    with pytest.raises(DataRefusedError, match="outcomes has 2 rows"):
        join_outcomes(rows.lazy(), pl.concat([outcomes, outcomes[:1]]))
    with pytest.raises(DataRefusedError, match="the slate log has 2 rows"):
        join_outcomes(pl.concat([rows, rows[:1]]).lazy(), outcomes)


def test_a_part_of_the_log_is_enough_if_it_holds_the_key_and_the_delivery() -> None:
    rows = log()
    outcomes = outcomes_of(rows[:4])
    narrow = rows.lazy().select(*KEY, "delivered_for", "arm", "margin")
    joined = join_outcomes(narrow, outcomes).rows
    assert joined.columns[:6] == [*KEY, "delivered_for", "arm", "margin"]
    assert joined["margin"].equals(rows["margin"])
    with pytest.raises(DataRefusedError, match="read without delivered_for"):
        join_outcomes(rows.lazy().select(KEY), outcomes)


def test_outcomes_keep_their_contract() -> None:
    rows = log()
    with pytest.raises(DataRefusedError, match="missing: at"):
        join_outcomes(rows.lazy(), outcomes_of(rows[:2]).drop("at"))
    none = join_outcomes(rows.lazy(), outcomes_of(rows[:0]))
    assert none.rows.height == rows.height
    assert not none.rows["bought"].any()


def test_what_is_told_bit_by_bit_is_added_up_without_what_came_before_the_send() -> None:
    rows = log().filter(pl.col("slot") >= 0)
    bought = outcomes_of(rows[:2], minutes=90).with_columns(margin=pl.lit(30, pl.Float32))
    clicked = outcomes_of(rows[:2], minutes=9).with_columns(bought=False)
    early = outcomes_of(rows[:3], minutes=-1).with_columns(bought=False, visited=True)
    told = pl.concat([early, bought, clicked])
    joined = join_outcomes(rows.lazy(), told, in_bits=True)
    assert (joined.unknown, joined.too_early) == (0, 3)
    first = joined.rows[0].to_dicts()[0]
    assert first["bought"]
    assert not first["visited"]
    assert first["earned"] == 30
    assert first["responded_at"] == (NOON + timedelta(minutes=9)).replace(
        tzinfo=first["responded_at"].tzinfo
    )
    assert not joined.rows["opened"][2]
    with pytest.raises(DataRefusedError, match="share their key"):
        join_outcomes(rows.lazy(), told)
