from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.towers.losses import Ask, Concrete, Planner, resolve
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.softmax import Targets
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


@dataclass(frozen=True)
class Plan:
    """The columns of one block, as plain arrays."""

    rows: I64
    sales: I64
    offset: F32
    allowed: Bool
    """Which columns are negatives of which row, Bool[rows, C]."""
    target_sale: I64
    """Of each target, as v holds it."""
    targets: Targets


def window_of(requests: Requests, history: Events, rows: I64, length: int = 4) -> Window:
    """The last sales of each row's past, newest first."""
    cells = requests.history_end[rows][:, None] - np.arange(1, length + 1)
    valid = cells >= history.member_ptr[requests.member[rows]][:, None]
    sale = torch.from_numpy(history.sale[np.maximum(cells, 0)].astype(np.int64))
    blank = torch.zeros_like(sale)
    some = torch.from_numpy(valid)
    return Window(sale * some, blank, blank.float(), some, some.sum(dim=1).float())


def planner_of(requests: Requests, loss: Concrete, opens: I64) -> Planner:
    return Planner.of(requests, loss, opens_at=opens, device=torch.device("cpu"))


def plans(
    requests: Requests, loss: Concrete, opens: I64, history: Events, *, groups: list[int]
) -> list[Plan]:
    asks = []
    for group in groups:
        rows = np.arange(requests.rows(group).start, requests.rows(group).stop)
        asks.append(Ask(group, rows, rows))
    window = window_of(requests, history, np.concatenate([ask.mine for ask in asks]))
    columns = planner_of(requests, loss, opens)(asks, window, Noise.of(1, 0, 0))
    found = []
    for ask, block in zip(asks, columns.blocks, strict=True):
        allowed = torch.isfinite(block.offset)[None].repeat(len(ask.rows), 1)
        allowed[block.targets.row, block.targets.own] = False
        if block.past is not None:
            allowed.scatter_(1, block.past, value=False)
        found.append(
            Plan(
                ask.rows,
                columns.sales[block.columns].numpy(),
                block.offset.numpy(),
                allowed.numpy(),
                columns.sales[block.targets.column].numpy(),
                block.targets,
            )
        )
        assert torch.all(columns.group[block.columns] == ask.group)
    return found


def plan(requests: Requests, loss: Concrete, opens: I64, history: Events, *, group: int) -> Plan:
    return plans(requests, loss, opens, history, groups=[group])[0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), group=st.integers(0, 4), loss=st.sampled_from(LOSSES))
def test_no_positive_no_unopened_sale_and_no_other_day_is_a_negative(
    seed: int, group: int, loss: Concrete
) -> None:
    requests, opens, history = random_shop(seed)
    columns = plan(requests, loss, opens, history, group=group)
    shelf = set(requests.shelf(group).tolist())
    for row, allowed in zip(columns.rows, columns.allowed, strict=True):
        negatives = columns.sales[allowed]
        assert len(np.unique(negatives)) == len(negatives)
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
    columns = plan(requests, LOSSES[0], opens, history, group=group)
    shelf = requests.shelf(group)
    past = history.sale.reshape(-1, 6)[:, 2:]
    for row, allowed in enumerate(columns.allowed):
        assert np.array_equal(
            columns.sales[: len(shelf)][~allowed[: len(shelf)]], _own(requests, columns.rows[row])
        )
        archive = columns.sales[len(shelf) :][allowed[len(shelf) :]]
        assert not np.isin(archive, shelf).any()
        assert not np.isin(archive, past[row]).any()


def _own(requests: Requests, row: int) -> I64:
    cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
    return requests.target_sale[cells].astype(np.int64)


@pytest.mark.parametrize("loss", LOSSES)
def test_where_seen_sales_are_never_ranked_they_are_no_negatives(loss: Concrete) -> None:
    requests, opens, history = random_shop(7)
    hidden = replace(requests, exclude_seen=True)
    met = 0
    for columns in plans(hidden, loss, opens, history, groups=[2, 4]):
        for row, allowed in enumerate(columns.allowed):
            end = hidden.history_end[columns.rows[row]]
            seen = history.sale[end - 4 : end]
            assert not np.isin(columns.sales[allowed], seen).any()
            met += int(np.isin(columns.sales, seen).sum())
    assert met


@pytest.mark.parametrize("loss", LOSSES)
def test_each_target_is_found_at_its_own_column(loss: Concrete) -> None:
    requests, opens, history = random_shop(1)
    planned = plans(requests, loss, opens, history, groups=[3, 1])
    for group, columns in zip((3, 1), planned, strict=True):
        wanted = np.concatenate([_own(requests, row) for row in columns.rows])
        assert np.array_equal(columns.target_sale, wanted), group
        assert np.array_equal(
            np.diff(columns.targets.ptr), np.diff(requests.target_ptr)[columns.rows]
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_groups_of_one_step_are_planned_as_if_alone(loss: Concrete) -> None:
    requests, opens, history = random_shop(6)
    together = plans(requests, loss, opens, history, groups=[4, 2])
    for group, some in zip((4, 2), together, strict=True):
        alone = plan(requests, loss, opens, history, group=group)
        assert np.array_equal(some.sales, alone.sales)
        assert np.array_equal(some.offset, alone.offset)
        assert np.array_equal(some.allowed, alone.allowed)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_request_weighs_one_however_many_targets_it_has(loss: Concrete) -> None:
    requests, opens, history = random_shop(2)
    columns = plan(requests, loss, opens, history, group=2)
    sums = np.bincount(
        columns.targets.row, weights=columns.targets.weight, minlength=len(columns.rows)
    )
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_classic_corrects_the_target_refined_does_not_and_off_corrects_nothing() -> None:
    requests, opens, history = random_shop(3)
    planned = {}
    for logq in ("classic", "refined", "off"):
        loss = Sampled.model_validate({"in_batch": 6, "uniform": 30, "logq": logq})
        planned[logq] = plan(requests, loss, opens, history, group=3)
    pool = np.isfinite(planned["off"].offset)
    assert np.array_equal(planned["classic"].offset, planned["refined"].offset)
    # a sale drawn n times is one column of weight n
    times = np.exp(planned["off"].offset[pool])
    np.testing.assert_allclose(times, np.round(times), rtol=1e-5)
    assert times.sum() == pytest.approx(6 + 30)
    assert torch.all(planned["refined"].targets.shift == 0)
    assert torch.all(planned["off"].targets.shift == 0)
    share = planner_of(requests, Full(), opens).share
    there = torch.tensor(3)
    shelf = len(requests.shelf(3))

    def expected(sales: I64) -> F32:
        found: F32 = (6 * share(there, torch.from_numpy(sales)) + 30 / shelf).numpy()
        return found

    classic = planned["classic"]
    shift = classic.targets.shift.numpy()
    np.testing.assert_allclose(shift, -np.log(expected(classic.target_sale)), rtol=1e-5)
    corrected = classic.offset[pool] - planned["off"].offset[pool]
    np.testing.assert_allclose(corrected, -np.log(expected(classic.sales[pool])), rtol=1e-4)


def test_auto_takes_the_live_shelf_the_full_sum_or_a_sample() -> None:
    requests, _, _ = random_shop(0)
    assert isinstance(resolve(TwoTower(), requests, "shelf"), LiveShelf)
    assert isinstance(resolve(TwoTower(), requests, "endless"), Full)
    small = TwoTower(loss=AutoLoss(full_up_to=3))
    assert isinstance(resolve(small, requests, "endless"), Sampled)
    assert resolve(TwoTower(loss=Full()), requests, "shelf") == Full()


def test_rows_of_one_process_see_the_columns_of_all() -> None:
    requests, opens, history = random_shop(4)
    planner = planner_of(requests, LOSSES[1], opens)
    rows = np.arange(requests.rows(3).start, requests.rows(3).stop)
    whole, half = (
        planner([Ask(3, rows, mine)], window_of(requests, history, mine), Noise.of(1, 0, 0))
        for mine in (rows, rows[1::2])
    )
    pool = whole.blocks[0].columns
    assert half.blocks[0].columns == pool
    assert torch.equal(whole.sales[pool], half.sales[pool])
    assert torch.equal(whole.blocks[0].offset, half.blocks[0].offset)


def test_a_later_target_changes_no_earlier_plan() -> None:
    requests, opens, history = random_shop(5)
    before = plan(requests, LOSSES[1], opens, history, group=1)
    last = requests.target_sale.copy()
    last[requests.target_ptr[requests.rows(4).start] :] = requests.shelf(4)[0]
    after = plan(replace(requests, target_sale=last), LOSSES[1], opens, history, group=1)
    assert np.array_equal(before.sales, after.sales)
    assert np.array_equal(before.offset, after.offset)
