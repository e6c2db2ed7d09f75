from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.encode import encode, fit, load, save
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded, Features
from recsys.domain.events import DAY
from recsys.domain.schema import Instant, Numeric, Schema
from tests.data.shops import SCHEMA, START, cut, random_events, shop

UNTIL = START + 20 * DAY
YEARS_28 = 28 * 365 * DAY + 7 * DAY


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return shop(random_events(0))


@pytest.fixture(scope="module")
def encoded(dataset: Dataset) -> Encoded:
    return encode(fit(dataset, UNTIL), dataset)


def same(one: Features, other: Features, entities: int) -> bool:
    """Whether the first entities are bit for bit the same."""
    cells = int(one.ptr[entities])
    return (
        one.fields == other.fields
        and (one.ptr[: entities + 1] == other.ptr[: entities + 1]).all()
        and (one.row[:cells] == other.row[:cells]).all()
        and (one.field[:cells] == other.field[:cells]).all()
        and (one.weight[:cells] == other.weight[:cells]).all()
        and one.dense[:entities].tobytes() == other.dense[:entities].tobytes()
    )


def cells(features: Features, entity: int, field: str) -> set[int]:
    own = slice(features.ptr[entity], features.ptr[entity + 1])
    return set(features.row[own][features.field[own] == features.fields.index(field)].tolist())


def knows_the_future(dataset: Dataset, derive: Callable[[Dataset], Dataset] = lambda d: d) -> bool:
    """Whether cutting all data after an instant changes what was known before it."""
    at = START + 25 * DAY
    before, whole = derive(cut(dataset, at)), derive(dataset)
    early, late = fit(before, UNTIL), fit(whole, UNTIL)
    alike = early.fingerprint == late.fingerprint
    one, other = encode(early, before), encode(late, whole)
    alike &= same(one.sales, other.sales, before.num_sales)
    alike &= same(one.members, other.members, before.num_members)
    return not alike


def test_no_column_knows_the_future(dataset: Dataset) -> None:
    assert not knows_the_future(dataset)


def test_a_leaky_column_is_caught(dataset: Dataset) -> None:
    def with_times_sold(known: Dataset) -> Dataset:
        counts = np.bincount(known.events.sale, minlength=known.num_sales)
        column = pl.Series("times_sold", counts.astype(np.float64))
        schema = Schema(sales=(Numeric(column="times_sold"),))
        return replace(known, sales=known.sales.with_columns(column), schema=schema)

    assert knows_the_future(dataset, with_times_sold)


def test_what_an_editor_chooses_after_the_opening_is_no_field(dataset: Dataset) -> None:
    late = replace(dataset, curation=dataset.curation.with_columns(pl.col("from_at") + 1))
    assert "sale.curated" in encode(fit(dataset, UNTIL), dataset).sales.fields
    assert "sale.curated" not in encode(fit(late, UNTIL), late).sales.fields


def test_what_later_sales_are_like_moves_no_mean_or_edge(dataset: Dataset) -> None:
    later = pl.Series(dataset.opens_at >= UNTIL)
    dear = pl.when(later).then(pl.col("price") * 1000 + 5).otherwise(pl.col("price"))
    image = pl.when(later).then(pl.col("image").list.eval(pl.element() ** 2))
    moved = replace(
        dataset,
        sales=dataset.sales.with_columns(
            dear.alias("price"), image.otherwise(pl.col("image")).alias("image")
        ),
    )
    assert fit(moved, UNTIL).fingerprint == fit(dataset, UNTIL).fingerprint
    assert fit(moved, UNTIL + 30 * DAY).fingerprint != fit(dataset, UNTIL + 30 * DAY).fingerprint


def test_moving_all_times_by_28_years_changes_nothing(dataset: Dataset) -> None:
    # the same weekdays and dates: only absolute days could tell
    times = [pl.col("opens_at"), pl.col("closes_at")]
    curated = pl.col("from_at", "until_at") + YEARS_28
    moved = replace(
        dataset,
        sales=dataset.sales.with_columns(
            (time.dt.timestamp("us") + YEARS_28).cast(pl.Datetime("us", "UTC")) for time in times
        ),
        curation=dataset.curation.with_columns(curated),
    )
    early, late = fit(dataset, UNTIL), fit(moved, UNTIL + YEARS_28)
    assert early.fingerprint == late.fingerprint
    one, other = encode(early, dataset), encode(late, moved)
    assert same(one.sales, other.sales, dataset.num_sales)


def test_everyone_has_a_value_in_every_field_and_its_weights_square_to_one(
    encoded: Encoded,
) -> None:
    for side in (encoded.members, encoded.sales):
        entity = np.repeat(np.arange(side.num), np.diff(side.ptr))
        norm = np.zeros((side.num, len(side.fields)))
        np.add.at(norm, (entity, side.field), side.weight**2)
        assert np.allclose(norm, 1)
        assert (side.row >= 0).all()
        assert (side.row < encoded.table_rows).all()


def test_blank_members_and_sales_are_finite_and_only_missing(dataset: Dataset) -> None:
    blank = replace(
        dataset,
        sales=dataset.sales.with_columns(
            pl.lit(None, dtype=dataset.sales.schema[f.column]).alias(f.column)
            for f in (*SCHEMA.sales, Numeric(column="price"), Numeric(column="brand"))
        ),
        members=dataset.members.with_columns(
            pl.lit(None, dtype=dataset.members.schema[f.column]).alias(f.column)
            for f in SCHEMA.members
        ),
    )
    found = encode(fit(dataset, UNTIL), blank)
    for side in (found.members, found.sales):
        assert np.isfinite(side.dense).all()
        for place, field in enumerate(side.fields):
            if not field.startswith(("sale.opens_at", "sale.curated", "member.everyone")):
                assert cells(side, 0, field) == {side.missing_row[place]}
    assert not found.members.dense.any()


def test_only_a_declared_name_makes_fields_share_rows(encoded: Encoded) -> None:
    # member 0 and sale 0 are both in Paris; member.age and sale.discount both in bucket 0
    members, sales = encoded.members, encoded.sales
    assert cells(members, 0, "member.city") == cells(sales, 0, "sale.city")
    assert cells(members, 0, "member.age") != cells(sales, 0, "sale.discount")


def test_swapping_two_fields_changes_the_rows(dataset: Dataset, encoded: Encoded) -> None:
    swapped = dataset.sales.rename({"brand": "category", "category": "brand"})
    other = encode(fit(dataset, UNTIL), replace(dataset, sales=swapped))
    assert not same(encoded.sales, other.sales, dataset.num_sales)
    assert cells(encoded.sales, 0, "sale.brand") != cells(other.sales, 0, "sale.category")


def test_a_brand_is_as_old_as_its_first_sale(dataset: Dataset, encoded: Encoded) -> None:
    tenure = encoded.sales.dense[:, encoded.sales.dense_names.index("sale.brand_tenure")]
    first = {brand: dataset.sales["brand"].to_list().index(brand) for brand in ("b0", "b1", "b2")}
    assert len({float(tenure[row]) for row in first.values()}) == 1
    of_brand = np.flatnonzero((dataset.sales["brand"] == "b0").fill_null(value=False).to_numpy())
    assert (np.diff(tenure[of_brand]) >= 0).all()
    assert tenure[of_brand[-1]] > tenure[of_brand[0]]


def test_an_endless_shop_has_no_opening_hours() -> None:
    endless = shop(random_events(0), task="endless")
    fields = encode(fit(endless, UNTIL), endless).sales.fields
    assert not [field for field in fields if field.startswith("sale.opens_at")]


def test_encoders_come_back_from_disk_as_they_were(dataset: Dataset, tmp_path: Path) -> None:
    encoders = fit(dataset, UNTIL, 12)
    save(encoders, tmp_path)
    back = load(tmp_path)
    assert back.fingerprint == encoders.fingerprint
    one, other = encode(encoders, dataset), encode(back, dataset)
    assert same(one.sales, other.sales, dataset.num_sales)
    assert other.fingerprint == encoders.fingerprint
    assert other.table_rows == 4096


def test_encoders_of_before_rarities_keep_their_fingerprint(dataset: Dataset) -> None:
    early = fit(dataset, UNTIL, 12)
    plain = replace(
        early,
        members=tuple(replace(column, rarity=None) for column in early.members),
        sales=tuple(replace(column, rarity=None) for column in early.sales),
    )
    assert plain.fingerprint == "026ca4e0d7799eca"


def test_a_value_never_seen_hashes_like_any_other(dataset: Dataset) -> None:
    renamed = replace(dataset, sales=dataset.sales.with_columns(brand=pl.lit("brand new")))
    found = encode(fit(dataset, UNTIL), renamed).sales
    place = found.fields.index("sale.brand")
    assert cells(found, 0, "sale.brand") != {found.missing_row[place]}
    assert len(cells(found, 0, "sale.brand")) == 1


def test_a_shop_without_any_column_is_encoded_too() -> None:
    bare = shop(random_events(0), task="endless", days=1, sales_a_day=1)
    bare = replace(bare, schema=Schema(), sales=bare.sales.drop("title"))
    found = encode(fit(bare, UNTIL), bare)
    assert found.sales.ptr.tolist() == [0, 0]
    assert found.members.fields == ("member.everyone",)


def test_an_instant_becomes_cycles_and_a_gap_to_the_opening(dataset: Dataset) -> None:
    hours = pl.int_range(pl.len()) % 4 * 6
    photographed = pl.col("opens_at") - pl.duration(days=3) - pl.duration(hours=hours)
    dated = replace(
        dataset,
        schema=Schema(sales=(Instant(column="shot_at"),)),
        sales=dataset.sales.with_columns(photographed.alias("shot_at")),
    )
    sales = encode(fit(dated, UNTIL), dated).sales
    # the season is the same for all, so it says nothing and is no field
    assert [field for field in sales.fields if "shot_at" in field] == [
        f"sale.shot_at.{part}" for part in ("weekday", "hour", "gap")
    ]
    gap = sales.dense[:, sales.dense_names.index("sale.shot_at.gap")]
    assert (gap[:-4] == gap[4:]).all()
    assert len(set(gap.tolist())) == 4
    # sale 84 opens 28 days after sale 0, at an equal gap; sale 12 opens 4 days after it
    weekday = [cells(sales, sale, "sale.shot_at.weekday") for sale in (0, 84, 12)]
    assert weekday[0] == weekday[1] != weekday[2]
