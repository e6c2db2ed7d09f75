"""Editors' rules from a file, and what a campaign asks of a ranker."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recsys.domain.errors import DataRefusedError, SettingError
from recsys.runs.house import rules

INFO = pl.DataFrame({"sale": ["s0", "s1"], "brand": ["b0", None]})
TEXT = (
    "rule_id,kind,sale,brand,slot,factor,from_at,until_at,by,why\n"
    "one,pin,s1,,2,,2026-11-27T11:00:00Z,2026-11-29T11:00:00Z,ana,opening\n"
    "two,boost,,b0,,1.5,2026-11-27T11:00:00Z,2026-11-29T11:00:00Z,ana,new maker\n"
)


def test_rules_are_read_from_csv_and_parquet_alike(tmp_path: Path) -> None:
    text = tmp_path / "rules.csv"
    text.write_text(TEXT)
    read = rules(str(text), INFO)
    assert len(read) == 2
    read.table.write_parquet(tmp_path / "rules.parquet")
    assert rules(str(tmp_path / "rules.parquet"), INFO).table.equals(read.table)
    assert not len(rules("", INFO))


def test_a_file_that_is_not_there_or_cannot_be_followed_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"campaign.rules=nowhere.csv: no such file"):
        rules("nowhere.csv", INFO)
    bad = tmp_path / "bad.csv"
    bad.write_text(TEXT.replace("s1", "s7"))
    with pytest.raises(DataRefusedError, match="rule one speaks of sale s7, which is not known"):
        rules(str(bad), INFO)
