from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recsys.campaign.slate_columns import (
    OUTCOMES,
    SLATE_LOG,
    check_columns,
    check_rows,
    kinds_of,
    refuse_repeats,
    table,
)
from recsys.domain.errors import DataRefusedError
from recsys.domain.slates import PARTS

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "slate-log.md"
LOG = (
    *("send_id", "decided_at", "delivered_for", "member_id", "channel", "slot", "sale_id"),
    *("log_propensity", "eligible_count", "eligible_hash"),
    *("appeal", "fatigue", "editor", "novelty", "floor", "cap", "diversity"),
    *("utility", "gain", "margin", "new_to_member", "curated", "reason", "evidence_id"),
    *("pinned", "explored", "repaired", "dial", "dial_own", "context", "by_dial", "rule_id"),
    *("arm", "policy_id", "prices_id", "bundle", "seed"),
)
"""DECISION 7; whoever adds a column changes what other programs read."""


def test_the_columns_are_those_that_were_decided() -> None:
    assert tuple(column.name for column in SLATE_LOG) == LOG
    assert LOG[LOG.index(PARTS[0]) :][: len(PARTS)] == PARTS
    assert [column.name for column in SLATE_LOG if column.may_be_null] == [
        *("sale_id", "log_propensity", "evidence_id"),
        *("dial", "dial_own", "context", "by_dial", "rule_id", "prices_id"),
    ]
    assert tuple(column.name for column in OUTCOMES) == (
        *("send_id", "member_id", "slot"),
        *("opened", "clicked", "visited", "bought", "margin", "unsubscribed", "at"),
    )


def test_the_guide_shows_every_column_with_its_type_and_sentence() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for columns in (SLATE_LOG, OUTCOMES):
        assert table(columns) in guide
        assert all(column.meaning.endswith(".") for column in columns)


def test_a_frame_of_the_contract_passes() -> None:
    for columns in (SLATE_LOG, OUTCOMES):
        check_rows(pl.DataFrame(schema=dict(kinds_of(columns))), columns, "here")


def test_all_that_breaks_the_contract_is_named_at_once() -> None:
    kinds = dict(kinds_of(SLATE_LOG))
    del kinds["gain"], kinds["arm"]
    kinds |= {"extra": pl.Int8(), "slot": pl.Int64(), "decided_at": pl.Datetime("ms", "UTC")}
    with pytest.raises(DataRefusedError) as refused:
        check_columns(kinds, SLATE_LOG, "part 3")
    said = str(refused.value)
    assert "part 3" in said
    assert "missing: gain, arm" in said
    assert "foreign: extra" in said
    assert "slot is Int64, wanted Int16" in said
    assert "decided_at is Datetime(time_unit='ms', time_zone='UTC'), wanted" in said


def test_rows_that_lack_what_must_be_known_are_refused() -> None:
    one = {name: pl.Series([None], dtype=kind) for name, kind in kinds_of(OUTCOMES).items()}
    with pytest.raises(DataRefusedError, match="without send_id, member_id"):
        check_rows(pl.DataFrame(one), OUTCOMES, "outcomes")


def test_two_rows_of_one_key_are_refused_by_name() -> None:
    keys = pl.DataFrame({"send_id": ["s", "s", "s"], "member_id": ["a", "b", "a"], "slot": [0] * 3})
    refuse_repeats(keys[:2], "log")
    with pytest.raises(DataRefusedError, match="2 rows that share") as refused:
        refuse_repeats(keys, "log")
    assert "send_id s, member_id a, slot 0" in str(refused.value)
