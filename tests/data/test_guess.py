from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from recsys.data.contract import check
from recsys.data.guess import guess, to_yaml
from recsys.data.sources import read
from recsys.data.spec import TablesSource
from recsys.domain.dataset import Dataset
from recsys.domain.errors import DataRefusedError
from tests.builders import tiny_tables

PRODUCTS = 40


def purchase_log(rows: int = 600) -> pl.DataFrame:
    """Lines of invoices as shops export them: no kinds, returns, and customers unknown."""
    rng = np.random.default_rng(3)
    product = rng.integers(0, PRODUCTS, rows)
    customer = rng.integers(12_346, 12_380, rows)
    invoice = np.sort(rng.integers(0, rows // 3, rows))
    minutes = pl.Series(invoice * 600)
    start = pl.datetime(2010, 12, 1, 8, 26)
    return pl.DataFrame({
        "InvoiceNo": (536_365 + invoice).astype(str),
        "StockCode": [f"{85_000 + row}A" for row in product.tolist()],
        "Description": [f"WHITE HANGING THING NUMBER {row}" for row in product.tolist()],
        "Quantity": np.where(rng.random(rows) < 0.03, -1, rng.integers(1, 30, rows)),
        "UnitPrice": np.round(rng.uniform(0.5, 9, PRODUCTS), 2)[product],
        "CustomerID": pl.Series(customer).set(pl.Series(rng.random(rows) < 0.1), None),
        "Country": [f"Country {row % 3}" for row in customer.tolist()],
        "minutes": minutes,
    }).select(
        pl.exclude("minutes"),
        InvoiceDate=start + pl.duration(minutes="minutes"),
    )


def three_files(folder: Path) -> None:
    """Write the tiny shop under names that say little, kinds and times in other words."""
    tables = tiny_tables()
    assert tables.members is not None
    their_kind = {"view": "Product View", "cart": "AddToCart", "purchase": "Order"}
    tables.events.select(
        who="member",
        thing="sale",
        did=pl.col("kind").replace(their_kind),
        moment=pl.col("at").dt.timestamp("us"),
    ).write_csv(folder / "journal.csv")
    tables.sales.select(
        ref="sale",
        house="brand",
        live=pl.col("opens_at").dt.strftime("%Y-%m-%d %H:%M:%S"),
        over=pl.col("closes_at").dt.strftime("%Y-%m-%d %H:%M:%S"),
        headline="title",
        theme="category",
        times_sold=pl.int_range(pl.len()),
        orders_count=pl.int_range(pl.len()) * 3,
    ).write_csv(folder / "b.csv", separator=";")
    tables.members.select(
        pk="member",
        email=pl.col("member") + "@example.org",
        region="region",
        since=pl.col("joined_at").dt.date(),
        household_income="income",
    ).write_parquet(folder / "c.parquet")


def source_of(text: str) -> TablesSource:
    return TablesSource.model_validate(yaml.safe_load(text))


def dataset(text: str) -> Dataset:
    source = source_of(text)
    return check(read(source), source).dataset


@pytest.mark.parametrize(
    "form", ["parquet", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M:%S"]
)
def test_one_log_of_purchases_makes_events_sales_and_members(tmp_path: Path, form: str) -> None:
    log = purchase_log()
    if form == "parquet":
        log.write_parquet(tmp_path / "retail.parquet")
    else:
        written = log.with_columns(pl.col("InvoiceDate").dt.strftime(form))
        written.write_csv(tmp_path / "retail.csv", separator=";")
    text = to_yaml(guess(tmp_path), "retail")
    source = source_of(text)
    assert source.events.columns == {
        "member": "CustomerID",
        "sale": "StockCode",
        "at": "InvoiceDate",
        "value": "UnitPrice",
        "quantity": "Quantity",
    }
    assert (source.events.kind, source.events.lines) == ("purchase", True)
    assert source.events.time_format == (None if form == "parquet" else form)
    assert source.cadence == "engagement"
    made = dataset(text)
    assert made.num_sales == PRODUCTS
    assert made.sales["title"].str.starts_with("WHITE HANGING").all()
    assert [feature.column for feature in made.schema.members] == ["Country"]
    assert made.task == "endless"
    sound = log.filter(pl.col("CustomerID").is_not_null() & (pl.col("Quantity") > 0))
    spent = sound.select((pl.col("Quantity") * pl.col("UnitPrice")).sum()).item()
    assert made.events.value.sum() == pytest.approx(spent, rel=1e-4)


def test_rows_that_will_be_set_aside_are_announced(tmp_path: Path) -> None:
    purchase_log().write_parquet(tmp_path / "retail.parquet")
    made = guess(tmp_path)
    assert "lack an id" in made.why["max_quarantined_share"]
    assert 0.1 < made.source.max_quarantined_share < 0.2


def test_three_files_with_odd_names_are_told_apart(tmp_path: Path) -> None:
    three_files(tmp_path)
    text = to_yaml(guess(tmp_path), "odd")
    source = source_of(text)
    assert source.events.path.endswith("journal.csv")
    assert source.sales is not None
    assert source.members is not None
    assert source.sales.path.endswith("b.csv")
    assert source.members.path.endswith("c.parquet")
    assert source.events.columns == {
        "member": "who",
        "sale": "thing",
        "kind": "did",
        "at": "moment",
    }
    assert source.events.kinds == {
        "Product View": "view",
        "AddToCart": "cart",
        "Order": "purchase",
    }
    assert source.sales.columns["opens_at"] == "live"
    assert source.sales.columns["closes_at"] == "over"
    assert source.category == "theme"
    made = dataset(text)
    wanted = check(tiny_tables(), source).dataset
    assert made.events.at.tolist() == wanted.events.at.tolist()
    assert made.events.kind.tolist() == wanted.events.kind.tolist()
    assert made.opens_at.tolist() == wanted.opens_at.tolist()


def test_private_and_later_facts_are_left_out_and_sensitive_ones_stay_off(tmp_path: Path) -> None:
    three_files(tmp_path)
    made = guess(tmp_path).source
    assert made.members is not None
    assert made.sales is not None
    assert made.members.ignore == ("email",)
    assert set(made.sales.ignore) == {"times_sold", "orders_count"}
    assert [feature.column for feature in check(read(made), made).dataset.schema.members] == [
        "region"
    ]


def test_every_mapped_column_has_its_reason_and_no_member_is_named(tmp_path: Path) -> None:
    three_files(tmp_path)
    text = to_yaml(guess(tmp_path), "odd")
    mapped = [line for line in text.splitlines() if line.startswith("    ") and '": ' not in line]
    kinds = ("AddToCart", "Order")
    assert all("  # " in line for line in mapped if not line.strip().startswith(kinds))
    assert "m0000" not in text


def test_files_with_the_same_columns_are_one_table(tmp_path: Path) -> None:
    log = purchase_log()
    for part in range(3):
        log[part * 200 : part * 200 + 200].write_csv(tmp_path / f"retail-{part}.csv")
    made = guess(tmp_path)
    assert made.source.events.path == f"{tmp_path}/retail-*.csv"
    assert read(made.source).events["source_file"].n_unique() == 3


def test_a_table_that_fits_nowhere_is_mentioned(tmp_path: Path) -> None:
    three_files(tmp_path)
    pl.DataFrame({"x": [0.5, 0.5]}).write_csv(tmp_path / "weather.csv")
    assert any("weather.csv is not used" in note for note in guess(tmp_path).notes)


def test_a_folder_without_tables_or_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefusedError, match="holds no table"):
        guess(tmp_path)
    pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}).write_csv(tmp_path / "t.csv")
    with pytest.raises(DataRefusedError, match=r"no table looks like events(.|\n)*t\.csv: x, y"):
        guess(tmp_path)


def test_day_and_month_are_told_apart_by_all_columns_of_a_table(tmp_path: Path) -> None:
    """Sales open on the 5th and close on the 25th of a month, written as in America."""
    tables = tiny_tables()
    day = (pl.int_range(pl.len()) % 7) + 1
    opens = pl.datetime(2026, 3, day)
    tables.events.write_csv(tmp_path / "events.csv")
    tables.sales.select(
        "sale",
        "brand",
        "title",
        opens_at=opens.dt.strftime("%m/%d/%Y"),
        closes_at=(opens + pl.duration(days=17)).dt.strftime("%m/%d/%Y"),
    ).write_csv(tmp_path / "sales.csv")
    source = source_of(to_yaml(guess(tmp_path), "shop"))
    assert source.sales is not None
    assert source.sales.time_format == "%m/%d/%Y"
