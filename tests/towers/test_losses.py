from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.towers.losses import Ask, Columns, Concrete, Planner, resolve
from recsys.towers.spec import AutoLoss, Full, LiveShelf, Sampled, TwoTower

DAY = 100
LOSSES: list[Concrete] = [
    LiveShelf(archive_draws=40),
    Sampled(in_batch=6, uniform=30),
    Sampled(in_batch=6, uniform=30, logq="refined"),
    Full(),
]


def random_shop(
    seed: int, *, days: int = 5, a_day: int = 4, rows: int = 8
) -> tuple[Requests, I64, Events]:
    """Sales open daily and stay two days; each member likes one to three of the shelf."""
    rng = np.random.default_rng(seed)
    opens = np.repeat(np.arange(days) * DAY, a_day)
    shelves = [np.flatnonzero((opens <= d * DAY) & (opens > (d - 2) * DAY)) for d in range(days)]
    ends = np.cumsum([len(shelf) for shelf in shelves])
    targets, weights = [], []
    for day in range(days):
        for _ in range(rows):
            chosen = rng.choice(shelves[day], rng.integers(1, 4), replace=False)
            targets.append(np.sort(chosen))
            weights.append(np.full(len(chosen), 1 / len(chosen)))
    past = rng.integers(0, len(opens), size=(rows, 6))
    requests = Requests(
        group_at=np.arange(days, dtype=np.int64) * DAY,
        shelf_start=np.concatenate(([0], ends[:-1])).astype(np.int64),
        shelf_end=ends.astype(np.int64),
        shelf_sale=np.concatenate(shelves).astype(np.int32),
        shelf_curated=np.zeros(int(ends[-1]), dtype=np.bool_),
        member=np.tile(np.arange(rows, dtype=np.int32), days),
        at=np.repeat(np.arange(days, dtype=np.int64) * DAY, rows),
        group=np.repeat(np.arange(days, dtype=np.int32), rows),
        history_end=np.tile(np.arange(1, rows + 1, dtype=np.int64) * 6, days),
        target_ptr=np.cumsum([0, *map(len, targets)]).astype(np.int64),
        target_sale=np.concatenate(targets).astype(np.int32),
        target_kind=np.ones(sum(map(len, targets)), dtype=np.uint8),
        target_weight=np.concatenate(weights).astype(np.float32),
        outcome_us=DAY,
    )
    n = past.size
    history = Events(
        sale=past.ravel().astype(np.int32),
        at=np.tile(np.arange(6, dtype=np.int64), rows),
        kind=np.ones(n, dtype=np.uint8),
        channel=np.zeros(n, dtype=np.uint8),
        flags=np.zeros(n, dtype=np.uint8),
        value=np.zeros(n, dtype=np.float32),
        member_ptr=np.arange(rows + 1, dtype=np.int64) * 6,
    )
    return requests, opens.astype(np.int64), history


def plan(
    requests: Requests, loss: Concrete, opens: I64, history: Events, *, group: int
) -> tuple[I64, Columns]:
    planner = Planner.of(requests, loss, opens_at=opens, history=history, window=4)
    rows = np.arange(requests.rows(group).start, requests.rows(group).stop)
    return rows, planner(Ask(group, rows, rows, (1, 0, 0)))


def denominators(columns: Columns, n: int) -> list[I64]:
    """The sales that stand as negatives of each row."""
    allowed = np.isfinite(columns.offset)[None].repeat(n, axis=0)
    allowed[columns.masked.row, columns.masked.column] = False
    return [columns.sales[row] for row in allowed]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), group=st.integers(0, 4), loss=st.sampled_from(LOSSES))
def test_no_positive_no_unopened_sale_and_no_other_day_is_a_negative(
    seed: int, group: int, loss: Concrete
) -> None:
    requests, opens, history = random_shop(seed)
    rows, columns = plan(requests, loss, opens, history, group=group)
    shelf = set(requests.shelf(group).tolist())
    for row, negatives in zip(rows, denominators(columns, len(rows)), strict=True):
        own = requests.target_sale[requests.target_ptr[row] : requests.target_ptr[row + 1]]
        assert not set(own.tolist()) & set(negatives.tolist())
        assert np.all(opens[negatives] <= requests.group_at[group])
        if not isinstance(loss, LiveShelf):
            assert set(negatives.tolist()) <= shelf


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), group=st.integers(2, 4))
def test_the_archive_brings_no_shelf_sale_twice_and_nothing_of_the_members_own_past(
    seed: int, group: int
) -> None:
    requests, opens, history = random_shop(seed)
    rows, columns = plan(requests, LOSSES[0], opens, history, group=group)
    shelf = requests.shelf(group)
    past = history.sale.reshape(-1, 6)[:, 2:]
    for row, negatives in enumerate(denominators(columns, len(rows))):
        archive = negatives[len(shelf) - np.isin(shelf, _own(requests, rows[row])).sum() :]
        assert not np.isin(archive, shelf).any()
        assert not np.isin(archive, past[row]).any()


def _own(requests: Requests, row: int) -> I64:
    cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
    return requests.target_sale[cells].astype(np.int64)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_target_is_found_at_its_own_column(loss: Concrete) -> None:
    requests, opens, history = random_shop(1)
    rows, columns = plan(requests, loss, opens, history, group=3)
    wanted = np.concatenate([_own(requests, row) for row in rows])
    assert np.array_equal(columns.sales[columns.targets.column], wanted)
    assert np.array_equal(np.diff(columns.targets.ptr), np.diff(requests.target_ptr)[rows])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_request_weighs_one_however_many_targets_it_has(loss: Concrete) -> None:
    requests, opens, history = random_shop(2)
    rows, columns = plan(requests, loss, opens, history, group=2)
    sums = np.bincount(columns.targets.row, weights=columns.weight, minlength=len(rows))
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_classic_corrects_the_target_refined_does_not_and_off_corrects_nothing() -> None:
    requests, opens, history = random_shop(3)
    plans = {}
    for logq in ("classic", "refined", "off"):
        loss = Sampled.model_validate({"in_batch": 6, "uniform": 30, "logq": logq})
        plans[logq] = plan(requests, loss, opens, history, group=3)[1]
    pool = np.isfinite(plans["off"].offset)
    assert np.array_equal(plans["classic"].offset, plans["refined"].offset)
    assert np.all(plans["off"].offset[pool] == 0)
    assert np.all(plans["refined"].shift == 0)
    assert np.all(plans["off"].shift == 0)
    share = Planner.of(requests, Full(), opens_at=opens, history=history, window=4).share
    sales = plans["classic"].sales[plans["classic"].targets.column]
    expected = 6 * share(3, sales) + 30 / len(requests.shelf(3))
    np.testing.assert_allclose(plans["classic"].shift, -np.log(expected), rtol=1e-5)


def test_auto_takes_the_live_shelf_the_full_sum_or_a_sample() -> None:
    requests, _, _ = random_shop(0)
    assert isinstance(resolve(TwoTower(), requests, "shelf"), LiveShelf)
    assert isinstance(resolve(TwoTower(), requests, "endless"), Full)
    small = TwoTower(loss=AutoLoss(full_up_to=3))
    assert isinstance(resolve(small, requests, "endless"), Sampled)
    assert resolve(TwoTower(loss=Full()), requests, "shelf") == Full()


def test_rows_of_one_process_see_the_columns_of_all() -> None:
    requests, opens, history = random_shop(4)
    planner = Planner.of(requests, LOSSES[1], opens_at=opens, history=history, window=4)
    rows = np.arange(requests.rows(3).start, requests.rows(3).stop)
    whole = planner(Ask(3, rows, rows, (1, 0, 0)))
    half = planner(Ask(3, rows, rows[1::2], (1, 0, 0)))
    pool = np.isfinite(whole.offset)
    assert np.array_equal(whole.sales[pool], half.sales[np.isfinite(half.offset)])
    assert np.array_equal(whole.offset[pool], half.offset[np.isfinite(half.offset)])


def test_a_later_target_changes_no_earlier_plan() -> None:
    requests, opens, history = random_shop(5)
    _, before = plan(requests, LOSSES[1], opens, history, group=1)
    last = requests.target_sale.copy()
    last[requests.target_ptr[requests.rows(4).start] :] = requests.shelf(4)[0]
    _, after = plan(replace(requests, target_sale=last), LOSSES[1], opens, history, group=1)
    assert np.array_equal(before.sales, after.sales)
    assert np.array_equal(before.offset, after.offset)
