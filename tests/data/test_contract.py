from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.contract import Checked, check, write_quarantine
from recsys.data.rules import REASONS
from recsys.domain.arrays import NONE
from recsys.domain.dataset import Dataset
from recsys.domain.errors import DataRefusedError
from recsys.domain.events import DAY, FLAG_LATE, FLAG_MACHINE, Kind
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Vector
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from tests.builders import tiny_tables

LENIENT = Source(max_quarantined_share=1.0)
OPENS = datetime(2026, 5, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def sales(**columns: object) -> pl.DataFrame:
    given: dict[str, object] = {
        "sale": ["a", "b"],
        "opens_at": [OPENS, OPENS],
        "closes_at": [OPENS + timedelta(days=2)] * 2,
    }
    return pl.DataFrame(given | columns)


def events(*rows: tuple[object, ...], **columns: object) -> pl.DataFrame:
    """Rows are member, sale, kind, hours after the opening; a sound row is put before them."""
    sound = ("m0", "a", "view", 1.0)
    member, sale, kind, hours = zip(sound, *rows, strict=True)
    at = [OPENS + timedelta(hours=float(str(hour))) for hour in hours]
    frame = pl.DataFrame({"member": member, "sale": sale, "kind": kind, "at": at}, strict=False)
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})  # type: ignore[arg-type]


def shop(**tables: object) -> Tables:
    given: dict[str, object] = {
        "name": "shop",
        "zone": "Europe/Paris",
        "schema": Schema(),
        "sales": sales(),
        "events": events(),
    }
    return Tables(**(given | tables))  # type: ignore[arg-type]


def checked(**tables: object) -> Checked:
    return check(shop(**tables), LENIENT, now=NOW)


def reasons(of: Checked, table: str = "events") -> list[str]:
    found = of.quarantine.filter(pl.col("table") == table)
    return found["reason"].to_list()


def balanced(of: Checked) -> bool:
    return all(
        rows == of.rows_kept[table] + sum(of.counts[table].values())
        for table, rows in of.rows_in.items()
    )


def test_a_clean_shop_is_kept_whole() -> None:
    made = check(tiny_tables(), Source())
    assert made.quarantine.is_empty()
    assert made.rows_in == made.rows_kept


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, "a", "view", 2), "no_id"),
        (("  ", "a", "view", 2), "no_id"),
        (("m1", None, "view", 2), "no_id"),
        (("m" * 300, "a", "view", 2), "bad_id"),
        (("m\x07", "a", "view", 2), "bad_id"),
        (("m1", "a", "stare", 2), "unknown_kind"),
        (("m1", "a", None, 2), "unknown_kind"),
        (("m1", "z", "view", 2), "unknown_sale"),
        (("m1", "a", "view", -1), "outside_sale"),
        (("m1", "a", "purchase", 49.5), "outside_sale"),
        (("m1", "a", "view", 24 * 365), "out_of_range"),
        (("m0", "a", "view", 1), "duplicate"),
    ],
)
def test_each_broken_event_has_its_reason(row: tuple[object, ...], reason: str) -> None:
    made = checked(events=events(row))
    assert reasons(made) == [reason]
    assert balanced(made)
    assert len(made.dataset.events) == 1


@pytest.mark.parametrize(
    "row",
    [
        ("m1", None, "visit", -5),
        ("m1", None, "mail_open", 2),
        ("m1", "a", "wait_list", -5),
        ("m1", "a", "purchase", 48.5),
        ("m1", "a", "view", 60),
        ("m1", "a", "Mail Click", 2),
    ],
)
def test_events_that_may_be_so_are_kept(row: tuple[object, ...]) -> None:
    assert checked(events=events(row)).rows_kept["events"] == 2


def test_a_preview_lets_members_look_before_the_opening() -> None:
    early = shop(events=events(("m1", "a", "view", -3)))
    lenient = Source(max_quarantined_share=1.0, preview_hours=4)
    assert check(early, lenient, now=NOW).rows_kept["events"] == 2


def test_the_first_broken_rule_is_the_reason() -> None:
    worse = events((None, "z", "stare", -9), ("m1", "z", "stare", -9), ("m1", "z", "view", -9))
    assert reasons(checked(events=worse)) == ["no_id", "unknown_kind", "unknown_sale"]


def test_quarantine_names_column_value_file_and_row() -> None:
    frame = events(("m1", "a", "stare", 2)).with_columns(
        source_file=pl.lit("log.csv"), source_row=pl.Series([7, 8], dtype=pl.Int64)
    )
    row = checked(events=frame).quarantine.row(0, named=True)
    assert row == {
        "table": "events",
        "reason": "unknown_kind",
        "column": "kind",
        "value": "stare",
        "source_file": "log.csv",
        "source_row": 8,
    }


def test_long_values_are_cut_at_200_characters() -> None:
    made = checked(events=events(("m" * 300, "a", "view", 2)))
    assert made.quarantine["value"][0] == "m" * 200


def test_text_is_read_as_text_and_what_is_no_number_or_time_is_set_aside() -> None:
    frame = events(("m1", "a", "view", 2), ("m2", "a", "view", 3), ("m3", "a", "view", 4))
    written = frame.with_columns(
        at=pl.Series(["2026-05-01T13:00:00+02:00", "1777633200", "soon", "2026-05-01 14:00"]),
        value=pl.Series(["1.5", " 2 ", "3", "much"]),
    )
    made = checked(events=written)
    assert reasons(made) == ["not_a_time", "not_a_number"]
    assert made.quarantine["value"].to_list() == ["soon", "much"]
    assert sorted(made.dataset.events.value.tolist()) == [1.5, 2.0]
    at_us = int(datetime(2026, 5, 1, 11, tzinfo=UTC).timestamp()) * 1_000_000
    assert made.dataset.events.at.tolist() == [at_us, at_us]


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
def test_seconds_to_nanoseconds_since_1970_are_told_apart(scale: int) -> None:
    seconds = int(OPENS.timestamp()) + 60
    made = checked(events=events().with_columns(at=pl.lit(seconds * scale, pl.Int64)))
    assert made.dataset.events.at.tolist() == [seconds * 1_000_000]


def test_a_local_time_the_clock_skipped_is_set_aside_and_a_doubled_one_is_counted() -> None:
    clock = ["2026-03-29 02:30:00", "2025-10-26 02:30:00", "2026-03-29 12:00:00"]
    frame = pl.DataFrame({"member": "m", "sale": ["a", "a", "b"], "kind": "view", "at": clock})
    long_ago = sales(opens_at=["2025-01-01", "2025-01-01"], closes_at=[None, None])
    made = checked(events=frame, sales=long_ago)
    assert reasons(made) == ["time_not_on_clock"]
    assert made.quarantine["value"][0] == "2026-03-29 02:30:00"
    assert any("1 local times occur twice" in warning for warning in made.warnings)
    first = int(datetime(2025, 10, 26, 0, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert made.dataset.events.at[0] == first


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_prices_are_finite_and_not_negative(price: float) -> None:
    made = checked(sales=sales(price=[1.0, price]))
    assert reasons(made, "sales") == ["out_of_range"]


def test_a_sale_that_closes_before_it_opens_takes_its_events_along() -> None:
    ends = [OPENS + timedelta(days=2), OPENS - timedelta(days=1)]
    made = checked(sales=sales(closes_at=ends), events=events(("m1", "b", "view", 1)))
    assert reasons(made, "sales") == ["ends_before_start"]
    assert reasons(made) == ["unknown_sale"]


def test_ids_that_are_numbers_become_text() -> None:
    numbered = checked(
        sales=sales(sale=[11, 12]),
        events=events().with_columns(sale=pl.lit(11), member=pl.lit(17850.0)),
    )
    assert numbered.dataset.sales["sale"].to_list() == ["11", "12"]
    assert numbered.dataset.members["member"].to_list() == ["17850"]
    assert numbered.dataset.events.sale.tolist() == [0]


def test_leading_zeros_of_ids_survive() -> None:
    made = checked(sales=sales(sale=["007", "7"]), events=events(("m1", "7", "view", 1))[1:])
    assert made.dataset.sales["sale"].to_list() == ["007", "7"]
    assert made.dataset.events.sale.tolist() == [1]


def test_of_contradicting_events_the_last_ingested_stays() -> None:
    hour = timedelta(hours=1)
    frame = events(("m1", "a", "cart", 2), ("m1", "a", "cart", 2), ("m2", "a", "cart", 2))
    told = frame.with_columns(
        value=pl.Series([0.0, 1.0, 2.0, 3.0]),
        ingested_at=pl.Series([OPENS + hour, OPENS + 3 * hour, OPENS + 4 * hour, OPENS + 3 * hour]),
    )
    made = checked(events=told)
    assert reasons(made) == ["conflict"]
    assert sorted(made.dataset.events.value.tolist()) == [0.0, 2.0, 3.0]


def test_contradicting_events_without_an_ingest_time_both_go() -> None:
    frame = events(("m1", "a", "cart", 2), ("m1", "a", "cart", 2))
    made = checked(events=frame.with_columns(value=pl.Series([0.0, 1.0, 2.0])))
    assert reasons(made) == ["conflict", "conflict"]
    assert balanced(made)


def test_contradicting_sales_stop_the_run_after_the_quarantine_is_written(tmp_path: Path) -> None:
    twice = sales(sale=["a", "a"], brand=["x", "y"])
    with pytest.raises(DataRefusedError, match=r"contradict others of the same id"):
        check(shop(sales=twice), LENIENT, folder=tmp_path, now=NOW)
    kept = pl.read_parquet(tmp_path / "quarantine.parquet")
    assert kept.filter(pl.col("table") == "sales")["reason"].to_list() == ["conflict", "conflict"]


def test_duplicates_never_stop_a_run() -> None:
    frame = pl.concat([events()] * 50)
    made = check(shop(events=frame), Source(), now=NOW)
    assert made.counts["events"] == {"duplicate": 49}


def test_too_many_bad_rows_stop_the_run_and_say_what_to_do(tmp_path: Path) -> None:
    frame = events(("m1", "a", "purchse", 2), ("m2", "a", "purchse", 2))
    with pytest.raises(DataRefusedError) as refused:
        check(shop(events=frame), Source(), folder=tmp_path, now=NOW)
    said = str(refused.value)
    assert "2 of 3 rows of the events set aside" in said
    assert "did you mean 'purchase'?" in said
    assert "row 2, kind 'purchse'; row 3, kind 'purchse'" in said
    assert "data.max_quarantined_share=0.6667" in said
    assert len(said.splitlines()) <= 5
    assert pl.read_parquet(tmp_path / "quarantine.parquet").height == 2
    let = Source(max_quarantined_share=0.6667)
    assert check(shop(events=frame), let, now=NOW).rows_kept["events"] == 1


def test_the_quarantine_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = write_quarantine(checked(events=events((None, "a", "view", 2))), tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = write_quarantine(checked(), tmp_path)
    assert stat.S_IMODE(again.stat().st_mode) == 0o600
    assert pl.read_parquet(again).is_empty()


def test_a_missing_column_is_named_with_its_nearest() -> None:
    frame = events().rename({"member": "membr"})
    with pytest.raises(DataRefusedError, match=r"no column 'member'(.|\n)*did you mean 'membr'"):
        checked(events=frame)


def test_a_column_of_the_wrong_type_stops_the_run() -> None:
    with pytest.raises(DataRefusedError, match=r"'at' of the events is no time \(wrong_type\)"):
        checked(events=events().with_columns(at=pl.lit([1, 2])))
    names = events(("m", "a", "view", 2), ("n", "a", "view", 2))
    with pytest.raises(DataRefusedError, match=r"none of its 3 values"):
        checked(events=names.with_columns(at=pl.col("kind")))


@pytest.mark.parametrize("table", ["sales", "events", "members"])
def test_an_empty_table_is_refused(table: str) -> None:
    frames = {"sales": sales(), "events": events(), "members": pl.DataFrame({"member": ["m"]})}
    with pytest.raises(DataRefusedError, match=f"the {table} are empty"):
        checked(**{table: frames[table].clear()})


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


CELLS: dict[str, list[str | None]] = {
    "member": [None, "", "m1", "m2", "m\x01", "m3" * 200],
    "sale": [None, "a", "b", "zz"],
    "kind": [None, "view", "visit", "purchase", "stare", "mail_open"],
    "at": [
        "",
        "soon",
        "2026-05-01T11:00:00Z",
        "2026-05-04 11:00",
        "2026-03-29 02:30",
        "1999-01-01",
    ],
    "value": [None, "1", "-1", "much", "inf"],
}


@given(rows=st.lists(st.tuples(*(st.sampled_from(cells) for cells in CELLS.values())), max_size=25))
@settings(max_examples=60, deadline=None)
def test_in_is_kept_plus_quarantined_and_every_row_has_one_reason(
    rows: list[tuple[str | None, ...]],
) -> None:
    sound = ("m0", "a", "view", "2026-05-01T12:00:00Z", "1")
    frame = pl.DataFrame([sound, *rows], schema=dict.fromkeys(CELLS, pl.String), orient="row")
    made = checked(events=frame)
    assert balanced(made)
    aside = made.quarantine
    assert aside["source_row"].n_unique() == aside.height
    assert set(aside["reason"]) <= set(REASONS)
    assert made.rows_kept["events"] == len(made.dataset.events)
    # what was kept once is kept again, and nothing else is found
    kept = frame.filter(~pl.int_range(1, pl.len() + 1).is_in(aside["source_row"].implode()))
    assert checked(events=kept).quarantine.is_empty()


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
