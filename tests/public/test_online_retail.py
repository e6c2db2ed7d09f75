from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.public import OnlineRetail, online_retail


@pytest.fixture
def source(tmp_path: Path) -> OnlineRetail:
    winter = datetime.fromisoformat("2011-01-10T09:30")
    summer = datetime.fromisoformat("2011-07-01T09:30")
    pl.DataFrame(
        [
            ("536365", "85123A", "HEART", 6, winter, 2.5, 17850, "United Kingdom"),
            ("536365", "85123A", "HEART", 2, winter, 2.5, 17850, "United Kingdom"),
            ("540001", "85123A", "HEART HOLDER", 1, summer, 3.0, 13047, "France"),
            ("C54000", "85123A", "HEART", -6, summer, 2.5, 17850, "United Kingdom"),
            ("540002", "71053", "LANTERN", 1, summer, 3.0, None, "France"),
            ("540003", "71053", "LANTERN", 1, summer, 0.0, 13047, "France"),
        ],
        schema={
            "InvoiceNo": pl.String,
            "StockCode": pl.String,
            "Description": pl.String,
            "Quantity": pl.Int64,
            "InvoiceDate": pl.Datetime("us"),
            "UnitPrice": pl.Float64,
            "CustomerID": pl.Int32,
            "Country": pl.String,
        },
        orient="row",
    ).write_parquet(tmp_path / "online_retail.parquet")
    return OnlineRetail(root=str(tmp_path))


def test_lines_of_an_invoice_are_one_purchase_a_product(source: OnlineRetail) -> None:
    events = online_retail.tables(source).events.sort("at")
    assert events["member"].to_list() == ["17850", "13047"]
    assert events["value"].to_list() == [20.0, 3.0]


def test_what_the_protocol_leaves_out_is_counted(source: OnlineRetail) -> None:
    notes = online_retail.tables(source).notes
    assert notes[0] == "6 invoice lines"
    assert [note.split()[0] for note in notes[1:]] == ["1", "1", "1"]


def test_invoices_are_read_in_london_time(source: OnlineRetail) -> None:
    tables = online_retail.tables(source)
    at = tables.events["at"].sort().to_list()
    assert at == [
        datetime(2011, 1, 10, 9, 30, tzinfo=UTC),
        datetime(2011, 7, 1, 8, 30, tzinfo=UTC),
    ]
    assert tables.watermark == datetime(2011, 7, 1, 23, tzinfo=UTC)


def test_a_product_is_described_by_its_first_line(source: OnlineRetail) -> None:
    sales = online_retail.tables(source).sales
    assert sales.select("sale", "price", "title").rows() == [("85123A", 2.5, "HEART")]


@pytest.mark.data
def test_september_is_tested_on_what_sold_in_the_30_days_before(
    measured: Callable[[str], str],
) -> None:
    source = OnlineRetail(root=measured("online-retail"))
    tables = online_retail.tables(source)
    assert tables.members is not None
    assert (tables.members.height, tables.sales.height) == (3616, 3508)
    left_out = sum(int(note.split()[0]) for note in tables.notes[1:])
    assert 370_931 - left_out == 266_495
    made = blocks(check(tables, source).dataset, source)
    start = datetime.fromtimestamp(int(made.test.group_at[0]) / 1e6, UTC)
    assert start == datetime(2011, 8, 31, 23, tzinfo=UTC)
    assert len(made.test) > 1000
