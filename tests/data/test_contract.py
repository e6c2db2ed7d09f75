from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.contract import check, write_quarantine
from recsys.data.rules import REASONS
from recsys.domain.errors import DataRefusedError
from recsys.domain.source import Source
from tests.builders import tiny_tables
from tests.data.handmade import LENIENT, NOW, OPENS, balanced, checked, events, reasons, sales, shop


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


def test_copies_go_before_contradictions_are_looked_for() -> None:
    frame = events(("m1", "a", "cart", 2), ("m1", "a", "cart", 2), ("m1", "a", "cart", 2))
    told = frame.with_columns(value=pl.Series([0.0, 1.0, 1.0, 2.0]))
    made = checked(events=told)
    assert sorted(reasons(made)) == ["conflict", "conflict", "duplicate"]
    hour = timedelta(hours=1)
    at = pl.Series([OPENS + n * hour for n in (1, 3, 3, 2)])
    kept = checked(events=told.with_columns(ingested_at=at))
    assert sorted(reasons(kept)) == ["conflict", "duplicate"]
    assert sorted(kept.dataset.events.value.tolist()) == [0.0, 1.0]


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
    assert "2 of 3 rows of the events set aside (over 1 %)" in said
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
@settings(max_examples=40, deadline=None)
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
