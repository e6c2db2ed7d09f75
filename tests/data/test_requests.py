from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.errors import SettingError
from recsys.domain.events import DAY, FLAG_MACHINE, HOUR, KIND_WEIGHTS, Events
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.domain.split import BLOCKS
from tests.builders import tiny_dataset
from tests.data.shops import START, events, random_events, shop

NOON = Source(outcome_hours=48)
HOURLY = Source(cadence="hourly", outcome_hours=1)
BASKETS = Source(cadence="engagement", outcome_hours=48)
OWN_CUTOFFS = Source(cadence="member", test_days=20, validation_days=5)
SOURCES = {
    "noon": NOON,
    "hourly": HOURLY,
    "clicks": HOURLY,  # the shelf is what was looked at lately
    "engagement": BASKETS,
    "member": OWN_CUTOFFS,
}
ONE_CLOCK = ["noon", "hourly", "clicks", "engagement"]
Past = dict[tuple[int, int], tuple[bytes, ...]]


def by_block(made: Blocks) -> Iterator[tuple[str, Requests]]:
    return ((name, getattr(made, name)) for name in BLOCKS)


def a_shop(cadence: str, seed: int = 0) -> Dataset:
    history = random_events(seed)
    endless = cadence in {"engagement", "member"}
    dataset = shop(history, task="endless" if endless else "shelf")
    return replace(dataset, shelf_hours=48.0) if cadence == "clicks" else dataset


def pasts(dataset: Dataset, source: Source) -> Past:
    """All that a request may know, by member and instant."""
    history, known = dataset.history, Past()
    for _, requests in by_block(blocks(dataset, source)):
        for row in range(len(requests)):
            member, group = int(requests.member[row]), int(requests.group[row])
            past = slice(history.member_ptr[member], requests.history_end[row])
            known[member, int(requests.at[row])] = (
                history.sale[past].tobytes(),
                history.at[past].tobytes(),
                history.kind[past].tobytes(),
                requests.shelf(group).tobytes(),
                requests.curated(group).tobytes(),
            )
    return known


def with_events(dataset: Dataset, kept: Events, more: Events) -> Dataset:
    joined = events(
        np.concatenate([kept.member, more.member]).astype(np.int64),
        np.concatenate([kept.sale, more.sale]).astype(np.int64),
        np.concatenate([kept.at, more.at]),
        kind=np.concatenate([kept.kind, more.kind]).astype(np.int64),
        members=dataset.num_members,
    )
    return replace(dataset, events=joined)


@pytest.mark.parametrize("cadence", SOURCES)
def test_a_past_is_all_that_happened_before_and_nothing_else(cadence: str) -> None:
    dataset = a_shop(cadence)
    history = dataset.history
    for _, requests in by_block(blocks(dataset, SOURCES[cadence])):
        for member, at, end in zip(requests.member, requests.at, requests.history_end, strict=True):
            first, last = history.member_ptr[member], history.member_ptr[member + 1]
            assert (history.at[first:end] < at).all()
            assert (history.at[end:last] >= at).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ONE_CLOCK), st.integers(0, 99), st.integers(0, 99))
def test_whatever_happens_at_or_after_an_instant_changes_nothing_known_at_it(
    cadence: str, seed: int, other: int
) -> None:
    dataset, source = a_shop(cadence, seed), SOURCES[cadence]
    before = pasts(dataset, source)
    instants = sorted({at for _, at in before})
    at = instants[other * len(instants) // 100]
    # remove a random half of what follows, and put other events in its place
    luck = np.random.default_rng(other).random(len(dataset.events)) < 0.5
    kept = dataset.events.where((dataset.events.at < at) | luck)
    others = random_events(seed + 1000 + other, n=200)
    changed = pasts(with_events(dataset, kept, others.where(others.at >= at)), source)
    common = [key for key in before if key[1] <= at and key in changed]
    assert [key for key in common if before[key] != changed[key]] == []
    assert {key for key in before if key[1] < at - 72 * HOUR} <= set(common)


@pytest.mark.parametrize("cadence", ONE_CLOCK)
def test_a_row_added_later_changes_no_past(cadence: str) -> None:
    dataset, source = a_shop(cadence), SOURCES[cadence]
    last = max(at for _, at in pasts(dataset, source))
    more = random_events(7, n=300)
    grown = with_events(dataset, dataset.events, more.where(more.at >= last))
    before, after = pasts(dataset, source), pasts(grown, source)
    assert {key: after[key] for key in before} == before


def test_moving_an_event_across_an_instant_moves_it_from_outcome_to_past() -> None:
    dataset = shop(random_events(0))
    requests = blocks(dataset, NOON).test
    row = int(np.flatnonzero(np.diff(requests.target_ptr) == 1)[0])
    member, at = int(requests.member[row]), int(requests.at[row])
    own = (dataset.events.member == member) & (dataset.events.at >= at)
    own &= dataset.events.at < at + 48 * HOUR
    own &= dataset.events.sale == requests.target_sale[requests.target_ptr[row]]
    moved = events(
        dataset.events.member.astype(np.int64),
        dataset.events.sale.astype(np.int64),
        np.where(own, at - 1, dataset.events.at),
        kind=dataset.events.kind.astype(np.int64),
    )
    after = pasts(replace(dataset, events=moved), NOON)
    assert (member, at) in pasts(dataset, NOON)
    assert (member, at) not in after


def by_hand(dataset: Dataset, at: int, outcome_us: int) -> dict[tuple[int, int], dict[int, int]]:
    """Member and instant -> sale -> strongest event, event by event."""
    past, shelf = dataset.history, set(dataset.shelf(at).sales.tolist())
    found = dict[tuple[int, int], dict[int, int]]()
    for event in np.flatnonzero((past.at >= at) & (past.at < at + outcome_us)).tolist():
        sale, kind = int(past.sale[event]), int(past.kind[event])
        if sale in shelf:
            sales = found.setdefault((int(past.member[event]), at), {})
            sales[sale] = max(kind, sales.get(sale, 0))
    return found


@pytest.mark.parametrize("cadence", ["noon", "hourly", "clicks"])
def test_requests_and_outcomes_equal_those_found_by_hand(cadence: str) -> None:
    dataset, source = a_shop(cadence), SOURCES[cadence]
    made = blocks(dataset, source)
    assert made.split is not None
    step = DAY if cadence == "noon" else HOUR
    for block, (_, requests) in zip(made.split.blocks, by_block(made), strict=True):
        found = dict[tuple[int, int], dict[int, int]]()
        for row in range(len(requests)):
            own = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
            sales, kinds = requests.target_sale[own], requests.target_kind[own]
            key = int(requests.member[row]), int(requests.at[row])
            found[key] = dict(zip(sales.tolist(), kinds.tolist(), strict=True))
        wanted = dict[tuple[int, int], dict[int, int]]()
        for at in range(block.start, block.last + 1, step):
            wanted |= by_hand(dataset, at, requests.outcome_us)
        assert found == wanted


@pytest.mark.parametrize("cadence", SOURCES)
def test_requests_are_sorted_and_outcomes_lie_on_the_shelf_with_weights_of_one(
    cadence: str,
) -> None:
    for _, requests in by_block(blocks(a_shop(cadence), SOURCES[cadence])):
        order = np.lexsort((requests.at, requests.member, requests.group))
        assert order.tolist() == list(range(len(requests)))
        assert (np.diff(requests.group_at) > 0).all()
        assert (np.unique(requests.group) == np.arange(requests.num_groups)).all()
        for row in range(len(requests)):
            own = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
            weight = KIND_WEIGHTS[requests.target_kind[own]]
            assert np.isin(requests.target_sale[own], requests.shelf(requests.group[row])).all()
            assert np.allclose(requests.target_weight[own], weight / weight.sum())


@pytest.mark.parametrize("cadence", ONE_CLOCK)
def test_outcomes_settle_inside_their_own_block(cadence: str) -> None:
    dataset = a_shop(cadence)
    made = blocks(dataset, SOURCES[cadence])
    assert made.split is not None
    for block, (name, requests) in zip(made.split.blocks, by_block(made), strict=True):
        assert block.name == name
        assert (requests.at >= block.start).all()
        assert (requests.at + requests.outcome_us <= block.end).all()
    assert made.test.at.max() + made.test.outcome_us <= dataset.watermark
    for earlier, later in zip(made.split.blocks[:-1], made.split.blocks[1:], strict=True):
        assert earlier.end <= later.start


def test_a_shelf_holds_exactly_what_is_open_and_in_stock() -> None:
    dataset = tiny_dataset(days=20)
    made = blocks(dataset, Source(outcome_hours=24))
    sold_out = dataset.stock.filter(pl.col("left") == 0)
    closes = dataset.sales["closes_at"].dt.timestamp("us").to_numpy()
    gone = dict(zip(sold_out["sale"].to_list(), sold_out["at"].to_list(), strict=True))
    for _, requests in by_block(made):
        for group, at in enumerate(requests.group_at.tolist()):
            open_now = np.flatnonzero((dataset.opens_at <= at) & (at < closes)).tolist()
            in_stock = [sale for sale in open_now if gone.get(sale, at + 1) > at]
            assert requests.shelf(group).tolist() == in_stock


def test_a_noon_is_noon_on_the_wall_when_the_clock_changes() -> None:
    dataset = tiny_dataset(days=20)
    made = blocks(dataset, Source(outcome_hours=24))
    at = np.concatenate([requests.group_at for _, requests in by_block(made)])
    zone = ZoneInfo(dataset.zone)
    walls = [datetime.fromtimestamp(one / 1e6, UTC).astimezone(zone) for one in at.tolist()]
    assert {(wall.hour, wall.minute) for wall in walls} == {(12, 0)}
    assert len({wall.utcoffset() for wall in walls}) == 2


def test_a_machine_and_a_member_without_consent_make_no_request() -> None:
    dataset = shop(random_events(0))
    flags = np.where(dataset.events.member == 2, FLAG_MACHINE, 0).astype(np.uint8)
    consent = pl.Series([row != 5 for row in range(dataset.num_members)])
    quiet = replace(
        dataset,
        events=replace(dataset.events, flags=flags),
        members=dataset.members.with_columns(consent_personalise=consent),
    )
    for _, requests in by_block(blocks(quiet, NOON)):
        assert not np.isin(requests.member, [2, 5]).any()


def test_nobody_is_asked_before_they_joined() -> None:
    dataset = shop(random_events(0))
    joined = START + 15 * DAY + 13 * HOUR
    late = replace(
        dataset,
        members=dataset.members.with_columns(
            joined_at=pl
            .when(pl.col("member") == "m003")
            .then(pl.lit(joined).cast(pl.Datetime("us", "UTC")))
            .otherwise("joined_at")
        ),
    )
    towers = blocks(late, NOON).towers
    assert towers.at[towers.member == 3].min() > joined
    assert blocks(dataset, NOON).towers.at.min() < joined


def test_too_short_data_are_refused_with_what_to_do() -> None:
    with pytest.raises(SettingError, match=r"leave no decision time for block (?s:.)*do: give"):
        blocks(shop(random_events(0, days=8), days=8), Source())
    with pytest.raises(SettingError, match="leave no decision time for block towers"):
        blocks(a_shop("engagement"), Source(cadence="engagement", outcome_hours=240))


def test_a_block_without_requests_is_refused_by_name() -> None:
    dataset = shop(random_events(0))
    early = replace(dataset, events=dataset.events.where(dataset.events.at < START + 20 * DAY))
    with pytest.raises(SettingError, match="block validation holds no request"):
        blocks(early, NOON)


def test_what_is_left_out_is_counted() -> None:
    notes = " ".join(blocks(shop(random_events(0)), NOON).notes)
    assert "2 decision times without settled outcomes" in notes
    assert "engagements within 48 hours of a decision fell on sales" in notes


def test_fewer_judged_requests_are_a_part_of_all_and_leave_training_alone() -> None:
    dataset = shop(random_events(0))
    whole = blocks(dataset, NOON)
    part = blocks(dataset, NOON.model_copy(update={"judged_requests": 5}))
    assert len(part.test) == 5 < len(whole.test)
    assert len(part.towers) == len(whole.towers)
    everyone = set(zip(whole.test.member.tolist(), whole.test.at.tolist(), strict=True))
    assert set(zip(part.test.member.tolist(), part.test.at.tolist(), strict=True)) <= everyone
    assert "5 of 16 requests of test are judged" in part.notes


def test_towers_days_keep_the_last_days() -> None:
    towers = blocks(shop(random_events(0)), NOON.model_copy(update={"towers_days": 4})).towers
    assert towers.num_groups == 4
    assert np.ptp(towers.group_at) == 3 * DAY
