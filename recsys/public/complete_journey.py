"""The public Complete Journey data in, Tables out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.domain.schema import Categorical, Schema, Text
from recsys.domain.tables import Tables
from recsys.public.files import packaged, present
from recsys.public.spec import CompleteJourney

ZONE = "America/New_York"
"""Instants are UTC: in this zone they span exactly the year 2017."""
FILES = ("transactions", "products", "demographics", "campaigns", "coupon_redemptions")
SCHEMA = Schema(
    members=(
        Categorical(column="age"),
        Categorical(column="home_ownership"),
        Categorical(column="marital_status"),
        Categorical(column="income", sensitive=True),
        Categorical(column="household_size", sensitive=True),
        Categorical(column="household_comp", sensitive=True),
        Categorical(column="kids_count", sensitive=True),
    ),
    sales=(
        Categorical(column="department"),
        Categorical(column="product_category"),
        Categorical(column="product_type"),
        Categorical(column="label"),
        Categorical(column="package_size"),
        Text(column="title", ngrams=False),
    ),
    category="department",
)


def tables(spec: CompleteJourney) -> Tables:
    """Read baskets, products and households; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files or the package are not there.
    """
    root = Path(spec.root) if spec.root else packaged()
    paths = present(root, tuple(f"{name}.parquet" for name in FILES), data=spec.kind)
    frames = {name: pl.read_parquet(path) for name, path in zip(FILES, paths, strict=True)}
    lines = _lines(frames["transactions"])
    events = lines.group_by("member", "sale", "basket_id").agg(
        pl.col("at").min(), pl.col("value").sum()
    )
    sales = _sales(frames["products"], lines)
    unknown = sales["department"].null_count()
    never = frames["products"].height - (sales.height - unknown)
    contacts, redeemed = frames["campaigns"].height, frames["coupon_redemptions"].height
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        members=_members(frames["demographics"], events),
        sales=sales,
        events=events.select(
            "member", "sale", "at", "value", kind=pl.lit("purchase"), channel=pl.lit("shop")
        ),
        task="endless",
        notes=(
            f"{never} products were never bought and are no sales",
            f"{unknown} products that were bought have no description",
            f"{contacts} contacts of campaigns and {redeemed} coupons redeemed are unused",
        ),
    )


def _lines(transactions: pl.DataFrame) -> pl.DataFrame:
    unit_price = pl.col("sales_value") / pl.col("quantity")
    return transactions.select(
        "basket_id",
        member=pl.col("household_id").cast(pl.String),
        sale=pl.col("product_id").cast(pl.String),
        at=pl.col("transaction_timestamp").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
        value=pl.col("sales_value"),
        price=pl.when(unit_price.is_finite()).then(unit_price),
    )


def _sales(products: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """A product opens with its first purchase, at that purchase's price: nothing later enters."""
    first = (
        lines
        .sort("at", "member")
        .group_by("sale")
        .agg(pl.col("at").first().alias("opens_at"), pl.col("price").drop_nulls().first())
    )
    known = products.select(
        "department",
        "product_category",
        "product_type",
        "package_size",
        sale=pl.col("product_id").cast(pl.String),
        brand=pl.format("maker {}", "manufacturer_id"),
        label=pl.col("brand"),
        title=pl.concat_str("product_type", "package_size", separator=" ", ignore_nulls=True),
    )
    return first.join(known, on="sale", how="left")


def _members(demographics: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    known = demographics.rename({"household_id": "member"}).cast({"member": pl.String})
    return events.select(pl.col("member").unique().sort()).join(known, on="member", how="left")
