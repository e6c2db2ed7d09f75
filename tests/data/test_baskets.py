from __future__ import annotations

import numpy as np
import pytest

from recsys.data.requests import blocks
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR
from recsys.domain.source import Source
from tests.builders import tiny_dataset
from tests.data.shops import START, events, random_events, shop

BASKETS = Source(cadence="engagement", outcome_hours=48)
OWN_CUTOFFS = Source(
    cadence="member", validation_days=5, value_days=5, calibration_days=5, test_days=20
)


@pytest.fixture(scope="module")
def endless() -> Dataset:
    return shop(random_events(0), task="endless")


def test_training_has_one_request_for_each_moment_of_a_member(endless: Dataset) -> None:
    made = blocks(endless, BASKETS)
    past, opens_at = endless.history, endless.opens_at
    baskets = dict[tuple[int, int], set[int]]()
    before = START + 40 * DAY - 4 * 48 * HOUR
    for member, at, sale in zip(past.member, past.at, past.sale, strict=True):
        midnight = (int(at) - START) // DAY * DAY + START
        if at < before and opens_at[sale] < midnight:
            baskets.setdefault((int(member), int(at)), set()).add(int(sale))
    towers = made.towers
    found = {
        (int(member), int(at)): set(towers.target_sale[first:last].tolist())
        for member, at, first, last in zip(
            towers.member, towers.at, towers.target_ptr[:-1], towers.target_ptr[1:], strict=True
        )
    }
    assert found == baskets
    assert len(towers) == len(baskets)


def test_a_day_shares_one_slice_of_what_launched_before_it(endless: Dataset) -> None:
    towers = blocks(endless, BASKETS).towers
    assert towers.shelf_sale.tolist() == list(range(endless.num_sales))
    for group, midnight in enumerate(towers.group_at.tolist()):
        rows = towers.rows(group)
        assert (midnight - START) % DAY == 0
        assert ((towers.at[rows] - midnight) // DAY == 0).all()
        launched = np.flatnonzero(endless.opens_at < midnight).tolist()
        assert towers.shelf(group).tolist() == launched


def test_judging_asks_each_member_once_at_each_cutoff(endless: Dataset) -> None:
    made = blocks(endless, BASKETS)
    judged = (made.validation, made.value, made.calibration, made.test)
    for back, requests in zip((4, 3, 2, 1), judged, strict=True):
        cutoff = endless.watermark - back * 48 * HOUR
        assert requests.group_at.tolist() == [cutoff]
        assert np.unique(requests.member).tolist() == requests.member.tolist()
        assert requests.shelf(0).tolist() == endless.shelf(cutoff).sales.tolist()


def test_shelf_hours_rule_the_shelf_of_a_cutoff() -> None:
    dataset = tiny_dataset(days=20, task="endless")
    made = blocks(dataset, Source(cadence="engagement", outcome_hours=24))
    at = int(made.test.group_at[0])
    recent = (dataset.history.at < at) & (dataset.history.at >= at - 240 * HOUR)
    bought = np.unique(dataset.history.sale[recent])
    in_stock = bought[~dataset.shop.sold_out(at)[bought]]
    assert made.test.shelf(0).tolist() == in_stock.tolist()
    assert len(in_stock) < dataset.num_sales


def test_each_member_is_tested_on_the_last_fifth_of_their_own_history(endless: Dataset) -> None:
    made = blocks(endless, OWN_CUTOFFS)
    history, test = endless.history, made.test
    assert made.split is None
    for row, member in enumerate(test.member.tolist()):
        own = slice(history.member_ptr[member], history.member_ptr[member + 1])
        sales, at = history.sale[own], history.at[own]
        cut = int(np.ceil(0.8 * len(sales)))
        own_targets = test.target_sale[test.target_ptr[row] : test.target_ptr[row + 1]]
        assert own_targets.tolist() == sorted(set(sales[cut:].tolist()))
        assert test.at[row] == at[cut]


def test_blocks_of_a_member_follow_each_other(endless: Dataset) -> None:
    made = blocks(endless, OWN_CUTOFFS)
    last = dict(zip(made.test.member.tolist(), made.test.at.tolist(), strict=True))
    for earlier in (made.calibration, made.value, made.validation):
        now = dict(zip(earlier.member.tolist(), earlier.at.tolist(), strict=True))
        assert all(at <= last[member] for member, at in now.items())
        last = {**last, **now}
    towers = made.towers
    assert all(
        at <= last[member]
        for member, at in zip(towers.member.tolist(), towers.at.tolist(), strict=True)
    )


def test_what_happened_at_the_very_instant_is_not_known() -> None:
    # ten looks at once: two are the test's, and the other eight lie before it in no order
    member = np.zeros(100, dtype=np.int64)
    at = np.concatenate([START + DAY + np.arange(90), np.full(10, START + 5 * DAY)])
    sale = np.concatenate([np.arange(90) % 3, np.arange(10)])
    dataset = shop(events(member, sale, at, members=1), task="endless")
    test = blocks(dataset, Source(cadence="member", test_days=2)).test
    assert test.history_end.tolist() == [90]
    assert test.target_sale.tolist() == [8, 9]


def test_members_of_one_group_know_of_sales_what_the_first_of_them_could(endless: Dataset) -> None:
    source = Source(cadence="member", validation_days=5, value_days=5, calibration_days=5)
    test = blocks(endless, source.model_copy(update={"test_days": 20})).test
    assert np.ptp(test.at) > 0
    assert test.group_at.tolist() == [int(test.at.min())]
