from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import check
from recsys.domain.arrays import NONE
from recsys.domain.dataset import Dataset
from recsys.domain.errors import DataRefusedError
from recsys.domain.events import DAY, FLAG_LATE, FLAG_MACHINE, Kind
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Vector
from recsys.domain.source import Source
from tests.builders import tiny_tables
from tests.data.handmade import LENIENT, NOW, OPENS, checked, events, sales, shop


def test_late_events_are_kept_flagged_and_counted() -> None:
    hours = timedelta(hours=1)
    frame = events(("m1", "a", "view", 1)).with_columns(
        ingested_at=pl.Series([OPENS + 50 * hours, OPENS + 48 * hours])
    )
    made = checked(events=frame)
    assert made.dataset.events.flags.tolist() == [FLAG_LATE, 0]
    assert any("1 events arrived over 48 hours late" in warning for warning in made.warnings)


def test_events_of_machines_enter_no_history() -> None:
    frame = events(("m1", "a", "view", 1)).with_columns(is_machine=pl.Series(["yes", "no"]))
    made = checked(events=frame).dataset
    assert made.events.flags.tolist() == [FLAG_MACHINE, 0]
    assert len(made.history) == 1


def test_consent_is_yes_unless_it_is_asked_for_and_no_unless_it_is_given() -> None:
    asked = pl.DataFrame({"member": ["m0", "m1", "m2"], "consent_mail": [True, None, False]})
    made = checked(members=asked, events=events(("new", "a", "view", 2)))
    assert made.dataset.members["consent_mail"].to_list() == [True, False, False, False]
    assert made.dataset.members["consent_personalise"].to_list() == [True] * 4
    assert any("2 members without a word on consent_mail" in said for said in made.warnings)
    taken = f"no column consent_personalise: all {made.dataset.num_members} members are taken"
    assert any(taken in said for said in made.warnings)
    personal = asked.rename({"consent_mail": "consent_personalise"})
    named = checked(members=personal, events=events(("new", "a", "view", 2))).warnings
    assert not any("no column consent_personalise" in said for said in named)


def test_members_without_consent_train_nothing() -> None:
    refused = pl.DataFrame({"member": ["m0", "m1"], "consent_personalise": [False, True]})
    made = checked(members=refused, events=events(("m1", "a", "view", 2))).dataset
    assert made.history.member.tolist() == [1]


def test_members_that_only_events_know_come_last_and_in_order() -> None:
    known = pl.DataFrame({"member": ["z", "m0"]})
    made = checked(members=known, events=events(("y", "a", "view", 2), ("b", "a", "view", 2)))
    assert made.dataset.members["member"].to_list() == ["z", "m0", "y", "b"]


def test_ids_of_channels_become_members_and_strangers_stay_apart() -> None:
    frame = events(("c1", "a", "view", 2), ("m0", "a", "view", 3)).with_columns(
        id_source=pl.Series([None, "shop", "shop"])
    )
    whose = pl.DataFrame({"source": ["shop"], "id": ["c1"], "member": ["m0"]})
    made = checked(events=frame, identities=whose)
    assert made.dataset.members["member"].to_list() == ["m0", "shop:m0"]
    assert made.dataset.events.member.tolist() == [0, 0, 1]
    assert any("1 ids of channels belong to no member" in said for said in made.warnings)


def test_sensitive_columns_are_left_out_unless_they_are_named() -> None:
    schema = Schema(members=(Numeric(column="income", sensitive=True), Categorical(column="area")))
    members = pl.DataFrame({"member": ["m0"], "income": [5], "area": ["n"]})
    tables = shop(schema=schema, members=members)
    without = check(tables, LENIENT, now=NOW)
    assert "income" not in without.dataset.members.columns
    assert [feature.column for feature in without.dataset.schema.members] == ["area"]
    assert any("sensitive" in warning and "income" in warning for warning in without.warnings)
    named = check(tables, LENIENT.model_copy(update={"sensitive": ("income",)}), now=NOW)
    assert named.dataset.members["income"].to_list() == [5.0]
    with pytest.raises(DataRefusedError, match="incme"):
        check(tables, LENIENT.model_copy(update={"sensitive": ("incme",)}), now=NOW)


def test_features_are_read_as_their_kind_says() -> None:
    schema = Schema(
        sales=(
            Categorical(column="size"),
            Numeric(column="discount"),
            Bag(column="tags"),
            Vector(column="look", dim=2),
        )
    )
    described = sales(
        size=[38, 40],
        discount=["0.5", ""],
        tags=[["x", None], None],
        look=[[1.0, 2.0], None],
    )
    made = checked(schema=schema, sales=described).dataset.sales
    assert made["size"].to_list() == ["38", "40"]
    assert made["discount"].to_list() == [0.5, None]
    assert made["tags"].to_list() == [["x"], None]
    assert made["look"].dtype == pl.List(pl.Float32)


def test_an_endless_sale_opens_with_its_first_event() -> None:
    bare = pl.DataFrame({"sale": ["a", "b", "c"]})
    log = events(("m1", "b", "purchase", 3), ("m2", "b", "view", 2), ("m2", "a", "view", 9))
    made = checked(sales=bare, events=log, task="endless")
    hours = (made.dataset.opens_at - int(OPENS.timestamp()) * 1_000_000) // 3_600_000_000
    assert dict(zip(made.dataset.sales["sale"], hours.tolist(), strict=True)) == {
        "a": 1,
        "b": 2,
        "c": 9,
    }
    with pytest.raises(DataRefusedError, match="no column 'opens_at'"):
        checked(sales=bare, events=log)


def test_sales_are_sorted_by_opening_and_events_by_member_time_and_sale() -> None:
    made = check(tiny_tables(), Source()).dataset
    assert (np.diff(made.opens_at) >= 0).all()
    key = np.stack([made.events.member, made.events.at, made.events.sale])
    assert (np.lexsort(key[::-1]) == np.arange(key.shape[1])).all()


def test_rows_of_the_dataset_speak_of_the_ids_of_the_tables() -> None:
    tables = tiny_tables()
    made = check(tables, Source()).dataset
    rows = pl.DataFrame({
        "member": made.members["member"].gather(made.events.member),
        "sale": made.sales["sale"].gather(
            pl.Series(made.events.sale).set(pl.Series(made.events.sale == NONE), None)
        ),
        "kind": [Kind(kind).name.lower() for kind in made.events.kind],
        "at": pl.Series(made.events.at).cast(pl.Datetime("us", "UTC")),
    })
    wanted = tables.events.select(rows.columns)
    assert rows.sort(rows.columns).equals(wanted.sort(rows.columns))


def test_a_curated_flag_stands_in_for_a_table_of_curation() -> None:
    made = checked(sales=sales(curated=[True, False])).dataset
    assert made.sales["curated"].to_list() == [True, False]
    at = int(OPENS.timestamp()) * 1_000_000
    assert made.shop.curated(at).tolist() == [True, False]
    assert made.shop.curated(at + 3 * DAY).tolist() == [False, False]


def test_a_value_is_per_piece_where_there_is_a_quantity() -> None:
    made = checked(events=events(value=[2.5], quantity=[4])).dataset
    assert made.events.value.tolist() == [10.0]


def test_unknown_channels_are_read_as_other_and_counted() -> None:
    made = checked(events=events(("m1", "a", "view", 2), channel=["fax", "App"]))
    assert made.dataset.events.channel.tolist() == [4, 1]
    assert any("'fax'" in warning for warning in made.warnings)


def test_the_order_of_rows_does_not_change_the_dataset() -> None:
    tables = tiny_tables()
    mixed = replace(tables, events=tables.events.sample(fraction=1.0, shuffle=True, seed=3))
    one, other = check(tables, Source()).dataset, check(mixed, Source()).dataset
    assert one.fingerprint == other.fingerprint


def test_the_fingerprint_tells_any_change_of_content() -> None:
    tables = tiny_tables()

    def made(**changes: object) -> Dataset:
        return check(replace(tables, **changes), Source()).dataset  # type: ignore[arg-type]

    prints = [
        made().fingerprint,
        made(name="other").fingerprint,
        made(events=tables.events[1:]).fingerprint,
        made(sales=tables.sales.with_columns(title=pl.lit("x"))).fingerprint,
        made(curation=None).fingerprint,
        made(watermark=NOW).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert made().fingerprint == prints[0]
