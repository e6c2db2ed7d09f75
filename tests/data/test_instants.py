from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.instants import local_days, local_hours, local_noons, to_utc
from recsys.domain.events import DAY, HOUR

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")


def us(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type, misc]


def local(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at // 1_000_000, tz=ZoneInfo(zone))


def test_noons_lie_23_and_25_hours_apart_where_the_clock_moves() -> None:
    spring = local_noons("Europe/Paris", us(2026, 3, 28), us(2026, 3, 30))
    autumn = local_noons("Europe/Paris", us(2026, 10, 24), us(2026, 10, 26))
    assert np.diff(spring).tolist() == [23 * HOUR]
    assert np.diff(autumn).tolist() == [25 * HOUR]


def test_days_of_the_clock_changes_have_23_and_25_hours() -> None:
    spring = local_days("Europe/Paris", us(2026, 3, 28, 20), us(2026, 3, 30))
    autumn = local_days("Europe/Paris", us(2026, 10, 24, 20), us(2026, 10, 26))
    assert np.diff(spring).tolist() == [23 * HOUR]
    assert np.diff(autumn).tolist() == [25 * HOUR]
    assert len(local_hours("Europe/Paris", int(spring[0]), int(spring[1]) - 1)) == 23
    assert len(local_hours("Europe/Paris", int(autumn[0]), int(autumn[1]) - 1)) == 25


def test_a_clock_that_moves_half_an_hour_keeps_its_noon_and_full_hours() -> None:
    zone = "Australia/Lord_Howe"
    noons = local_noons(zone, us(2026, 4, 3), us(2026, 4, 6))
    assert {local(int(at), zone).hour for at in noons} == {12}
    assert sorted(set(np.diff(noons).tolist())) == [24 * HOUR, 24 * HOUR + HOUR // 2]
    hours = local_hours(zone, us(2026, 4, 4), us(2026, 4, 5))
    assert {local(int(at), zone).minute for at in hours} == {0}


def test_a_day_starts_when_the_clock_skips_midnight() -> None:
    zone = "America/Sao_Paulo"
    days = local_days(zone, us(2018, 11, 3, 12), us(2018, 11, 5))
    assert [local(int(at), zone).hour for at in days] == [1]


def test_bounds_belong_to_the_range() -> None:
    noon = us(2026, 6, 1, 10)
    assert local_noons("Europe/Paris", noon, noon).tolist() == [noon]
    assert local_noons("Europe/Paris", noon + 1, noon + DAY - 1).tolist() == []


@given(
    zone=st.sampled_from(ZONES),
    start=st.dates(date(2001, 1, 1), date(2030, 1, 1)),
    days=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_every_calendar_day_has_one_noon_and_one_start(zone: str, start: date, days: int) -> None:
    first = datetime(start.year, start.month, start.day, tzinfo=ZoneInfo(zone))
    end = datetime.combine(start + timedelta(days=days), first.timetz())
    span = [int(at.timestamp()) * 1_000_000 for at in (first, end)]
    noons, starts = local_noons(zone, span[0], span[1]), local_days(zone, span[0], span[1] - 1)
    wanted = [start + timedelta(days=day) for day in range(days)]
    assert [local(int(at), zone).date() for at in noons] == wanted
    assert [local(int(at), zone).date() for at in starts] == wanted
    assert ((noons - starts) % (HOUR // 2) == 0).all()


def test_a_time_the_clock_skipped_is_missing_and_a_doubled_one_is_the_first() -> None:
    written = [
        datetime(2026, 3, 29, 2, 30),  # ruff: ignore[call-datetime-without-tzinfo] - a clock reading
        datetime(2026, 10, 25, 2, 30),  # ruff: ignore[call-datetime-without-tzinfo] - the same
        datetime(2026, 6, 1, 12),  # ruff: ignore[call-datetime-without-tzinfo] - the same
        None,
    ]
    frame = pl.DataFrame({"at": pl.Series(written, dtype=pl.Datetime("us"))})
    read = to_utc(frame, "at", "Europe/Paris")
    assert read.missing.to_list() == [True, False, False, False]
    assert read.doubled == 1
    assert read.frame["at"].to_list() == [
        None,
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 6, 1, 10, tzinfo=UTC),
        None,
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_what_the_clock_shows_once_comes_back_unchanged(zone: str) -> None:
    at = pl.Series("at", np.arange(us(2026, 1, 1), us(2027, 1, 1), 7 * HOUR + 11))
    instants = at.cast(pl.Datetime("us", "UTC"))
    shown = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    read = to_utc(shown.to_frame(), "at", zone)
    assert not read.missing.any()
    assert (read.frame["at"] != instants).sum() <= read.doubled
