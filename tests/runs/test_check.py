from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recsys.data.spec import EventTable, Table, TablesSource
from recsys.domain.errors import DataRefusedError
from recsys.runs.check import check
from recsys.runs.spec import Check
from tests.builders import ZONE, tiny_tables


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TablesSource:
    """A shop of which seven events in a hundred speak of a sale that is not there."""
    monkeypatch.chdir(tmp_path)
    tables = tiny_tables()
    unknown = pl.when(pl.int_range(pl.len()) % 14 == 0).then(pl.lit("s9999")).otherwise("sale")
    tables.events.filter(pl.col("sale").is_not_null()).with_columns(sale=unknown).write_parquet(
        "events.parquet"
    )
    tables.sales.drop("tags").write_csv("sales.csv")
    return TablesSource(
        zone=ZONE,
        events=EventTable(path="events.parquet"),
        sales=Table(path="sales.csv"),
        max_quarantined_share=0.2,
    )


def test_what_came_in_is_kept_or_set_aside_and_three_rows_are_shown(
    source: TablesSource, capsys: pytest.CaptureFixture[str]
) -> None:
    check(Check(data=source, out="aside/"))
    lines = capsys.readouterr().out.splitlines()
    events = next(line.split() for line in lines if line.startswith("  events "))
    came, kept, aside = (int(number.replace(",", "")) for number in events[1:])
    assert came == kept + aside
    assert aside > 0
    shown = [line for line in lines if line.startswith("    row ")]
    assert len(shown) == 3
    assert all("of events.parquet: sale = s9999" in line for line in shown)
    assert lines[-1] == "  all kept aside/quarantine.parquet"
    assert pl.read_parquet("aside/quarantine.parquet").height == aside


def test_too_many_rows_set_aside_stop_it_and_are_kept_all_the_same(source: TablesSource) -> None:
    strict = source.model_copy(update={"max_quarantined_share": 0.01})
    with pytest.raises(DataRefusedError, match="s9999"):
        check(Check(data=strict))
    assert Path("quarantine.parquet").exists()
