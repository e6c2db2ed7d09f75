from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from recsys.domain.clock import us_of, utc_of


@pytest.mark.parametrize("us", [0, 1, -1, 1_774_000_000_123_457, -62_135_596_800_000_000])
def test_an_instant_comes_back_to_the_microsecond(us: int) -> None:
    assert us_of(utc_of(us)) == us
    assert utc_of(us).tzinfo is UTC


def test_a_zone_is_taken_into_account() -> None:
    noon = datetime(1970, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert us_of(noon) == 10 * 3_600 * 1_000_000
    assert us_of(noon.replace(tzinfo=None)) == 12 * 3_600 * 1_000_000
