"""Promise 10: a closed sale is never on a slate, and the shelf turns at noon without a reload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from recsys.domain.arrays import I64
from recsys.domain.events import HOUR
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.parts import BundleParts
from recsys.serve.recommender import Recommender
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import parts

PARIS = ZoneInfo("Europe/Paris")
CHANGES = {"spring": date(2026, 3, 29), "autumn": date(2026, 10, 25)}
"""Days of 23 and of 25 hours."""
SALES_A_DAY = 8
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.timeout(0 if RELEASE else 300)


def us(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def local(day: date, hour: int, minute: int = 0) -> int:
    """Return the instant of a time on the wall; a doubled one is the first."""
    return us(datetime.combine(day, time(hour, minute), PARIS))


@dataclass(frozen=True)
class Sale:
    """When a sale may be shown, by the calendar on the wall."""

    opens: int
    closes: int


@dataclass(frozen=True)
class Season:
    """Ten days around a change of the clocks, and a bundle that holds them all."""

    sales: dict[str, Sale]
    parts: BundleParts
    changes: date

    def instants(self) -> list[int]:
        """Return what lies at, just before and just after whatever happens on the shelf."""
        turns = {at for sale in self.sales.values() for at in (sale.opens, sale.closes)}
        night = [local(self.changes, hour, minute) for hour in range(4) for minute in (0, 30, 59)]
        return sorted({at + step for at in turns for step in (-1, 0, 1)} | set(night))


def season(name: str) -> Season:
    """Move the small shop to a season: it opens at noon on the wall, for two days or until noon."""
    made, changes = parts(1), CHANGES[name]
    days = made.shop.num_sales // SALES_A_DAY
    first = changes - timedelta(days=days // 2)
    sales = {}
    for row, sale in enumerate(made.info["sale"].to_list()):
        day = first + timedelta(days=row // SALES_A_DAY)
        until = local(day + timedelta(days=2), 12) if row % 2 else local(day, 12) + 36 * HOUR
        sales[sale] = Sale(opens=local(day, 12), closes=until)
    opens = np.array([sale.opens for sale in sales.values()])
    closes = np.array([sale.closes for sale in sales.values()])
    return Season(sales, _moved(made, opens, closes), changes)


def _moved(made: BundleParts, opens: I64, closes: I64) -> BundleParts:
    by = int(opens[0] - made.shop.opens_at[0])
    old = made.shop
    shop = replace(
        old,
        history=replace(old.history, at=old.history.at + by),
        shown=replace(old.shown, at=old.shown.at + by),
        opens_at=opens,
        closes_at=closes,
        curated_from=old.curated_from + by,
        curated_until=old.curated_until + by,
        stock_at=old.stock_at + by,
    )
    info = made.info.with_columns(
        opens_at=pl.Series(opens).cast(pl.Datetime("us", "UTC")),
        closes_at=pl.Series(closes).cast(pl.Datetime("us", "UTC")),
    )
    # made for the noon before the clocks change; what comes later is known already
    at = int(opens[len(opens) // 2]) - 24 * HOUR
    return replace(
        made, shop=shop, info=info, decided_at=at, watermark=at, of_the_past=False, name="moved"
    )


class Clock:
    """Stands where it is put."""

    at = 0

    def __call__(self) -> int:
        return self.at


def shown_at(recommender: Recommender, members: list[str]) -> Iterator[str]:
    """Yield every sale that anybody is shown now: on slates, and on the shelf."""
    for answer in recommender.recommend(members, slots=6):
        yield from (place.sale for place in answer.sales)
    yield from (offer.sale for offer in recommender.shelf())


@pytest.mark.parametrize("name", CHANGES)
def test_a_closed_sale_is_never_shown_whatever_the_clock_says(
    tmp_path: Path, name: str, shown: Shown
) -> None:
    one = season(name)
    clock = Clock()
    recommender = Recommender(open_bundle(publish_bundle(one.parts, tmp_path)), clock)
    members = [*one.parts.members.ids.tolist(), "nobody"]
    around, rng = one.instants(), drawn(f"closed sales {name}")
    rng.shuffle(around)
    wanted = times(10) // len(CHANGES)
    later = [rng.randrange(min(around), max(around)) for _ in range(wanted)]
    slates = empty = 0
    for at in [*around, *later][:wanted]:
        clock.at = at
        seen = set(shown_at(recommender, members))
        closed = {s for s in seen if not one.sales[s].opens <= at < one.sales[s].closes}
        assert not closed, (at, closed)
        slates += len(members)
        empty += not seen
    assert empty < wanted // 4
    shown(wanted, f"{name}: 0 closed sales on {slates:,} slates")


@pytest.mark.parametrize("name", CHANGES)
def test_the_shelf_turns_at_noon_on_the_wall_without_a_reload(tmp_path: Path, name: str) -> None:
    one = season(name)
    clock = Clock()
    recommender = Recommender(open_bundle(publish_bundle(one.parts, tmp_path)), clock)
    for step in (-1, 0, 1):
        noon = local(one.changes + timedelta(days=step), 12)
        opening = {sale for sale, when in one.sales.items() if when.opens == noon}
        closing = {sale for sale, when in one.sales.items() if when.closes == noon}
        assert len(opening) == SALES_A_DAY
        assert closing
        before, after = set[str](), set[str]()
        for at, found in ((noon - 1, before), (noon, after)):
            clock.at = at
            found |= {offer.sale for offer in recommender.shelf()}
        assert not before & opening
        assert not after & closing
        assert len(after & opening) == SALES_A_DAY
        assert before & closing
