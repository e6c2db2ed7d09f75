from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch

from recsys.data.contract import check
from recsys.data.encode import encode, fit
from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from recsys.towers.batches import past_of
from recsys.towers.resident import Bag, Resident, Window, rows_in_use
from tests.builders import tiny_tables
from tests.towers.shops import CPU, Shop

SOURCE = Source(outcome_hours=24)


def windows(shop: Shop, requests: Requests, length: int) -> Window:
    return shop.resident.window(past_of(requests, slice(0, len(requests))), length=length)


@pytest.mark.parametrize("task", ["shelf", "endless"])
@pytest.mark.parametrize("block", ["towers", "validation", "test"])
def test_no_event_at_or_after_the_decision_is_in_a_window(
    task: str, block: str, request: pytest.FixtureRequest
) -> None:
    shop: Shop = request.getfixturevalue("shop" if task == "shelf" else "endless")
    requests: Requests = getattr(shop.blocks, block)
    history, window = shop.dataset.history, windows(shop, requests, 8)
    for row in range(0, len(requests), 7):
        mine = (history.member == requests.member[row]) & (history.at < requests.at[row])
        last = np.flatnonzero(mine)[::-1][:8]
        valid = window.valid[row]
        assert window.sale[row][valid].tolist() == history.sale[last].tolist()
        kinds = history.kind[last].astype(np.int64) * 5 + history.channel[last]
        assert window.what[row][valid].tolist() == kinds.tolist()
        days = (requests.at[row] - history.at[last]) / DAY
        np.testing.assert_allclose(window.days[row][valid].numpy(), days, atol=2e-5)
        assert int(window.so_far[row]) == mine.sum()


def test_a_window_ends_where_the_member_begins(shop: Shop) -> None:
    requests = shop.blocks.towers
    window = windows(shop, requests, 1000)
    first = shop.dataset.history.member_ptr[requests.member]
    assert window.valid.sum(dim=1).tolist() == (requests.history_end - first).tolist()


def data_of(tables: Tables) -> tuple[Dataset, Blocks]:
    dataset = check(tables, SOURCE).dataset
    return dataset, blocks(dataset, SOURCE)


def seen(dataset: Dataset, requests: Requests, row: int) -> tuple[set[int], set[int]]:
    """Return the sales of a request's past and of its outcomes."""
    history = dataset.history
    past = history.sale[history.member_ptr[requests.member[row]] : requests.history_end[row]]
    cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
    return set(past.tolist()), set(requests.target_sale[cells].tolist())


def test_an_event_moved_across_the_decision_changes_sides_and_nothing_else() -> None:
    tables = tiny_tables(members=60, days=14)
    dataset, cut = data_of(tables)
    requests, opens = cut.towers, dataset.opens_at
    history = dataset.history
    # a request with two outcomes, one of them a sale that was open before, met only once
    for row in range(len(requests) // 2, len(requests)):
        member, at = int(requests.member[row]), int(requests.at[row])
        past, outcomes = seen(dataset, requests, row)
        often = np.bincount(history.sale[history.member == member], minlength=dataset.num_sales)
        movable = [s for s in outcomes - past if opens[s] < at - DAY // 2 and often[s] == 1]
        if movable and len(outcomes) > 1:
            break
    sale = movable[0]
    name, thing = dataset.members["member"][member], dataset.sales["sale"][sale]
    one = (pl.col("member") == name) & (pl.col("sale") == thing)
    before = pl.lit(at - 1_000_000).cast(pl.Datetime("us", "UTC"))
    moved = tables.events.with_columns(at=pl.when(one).then(before).otherwise(pl.col("at")))
    dataset_after, cut_after = data_of(replace(tables, events=moved))
    after = cut_after.towers
    same = np.flatnonzero((after.member == member) & (after.at == at))[0]
    past_after, outcomes_after = seen(dataset_after, after, int(same))
    assert past_after == past | {sale}
    assert outcomes_after == outcomes - {sale}


def test_what_happens_after_a_decision_leaves_its_tensors_alone(shop: Shop) -> None:
    requests, dataset = shop.blocks.towers, shop.dataset
    group = requests.num_groups - 1
    at = int(requests.group_at[group])
    events = dataset.events
    earlier = replace(dataset, events=events.where(events.at < at))
    resident = Resident.of(earlier, shop.encoded, CPU)
    rows = requests.rows(group)
    then = windows(shop, requests.take(np.arange(rows.start, rows.stop)), 8)
    past = past_of(requests, rows)
    end = earlier.history.member_ptr[past.member + 1]
    now = resident.window(replace(past, end=end), length=8)
    assert torch.equal(then.valid, now.valid)
    for name in ("sale", "what", "days"):
        old, new = getattr(then, name), getattr(now, name)
        assert torch.equal(old[then.valid], new[now.valid]), name
    assert torch.equal(then.so_far, now.so_far)
    shelf = requests.shelf(group).astype(np.int64)
    instants = np.full(len(shelf), at)
    as_of = shop.resident.as_of(shelf, instants, hours=(24.0,))
    assert np.array_equal(as_of, resident.as_of(shelf, instants, hours=(24.0,)))
    assert as_of.any()


def test_counts_stop_right_before_the_instant(shop: Shop) -> None:
    history = shop.dataset.history
    event = len(history) // 2
    sale, at = history.sale[[event]].astype(np.int64), history.at[[event]]
    at_it = shop.resident.as_of(sale, at, hours=())[0, 0]
    after_it = shop.resident.as_of(sale, at + 1, hours=())[0, 0]
    assert np.expm1(after_it) - np.expm1(at_it) == pytest.approx(1, abs=1e-3)


def test_the_compact_table_holds_every_row_that_any_value_points_at(shop: Shop) -> None:
    encoded = shop.encoded
    used = rows_in_use(encoded)
    assert np.all(np.diff(used) > 0)
    for features in (encoded.members, encoded.sales):
        compact = Bag.of(features, used, CPU)
        assert np.array_equal(used[compact.row.numpy()], features.row)
        assert np.array_equal(used[compact.missing.numpy()], features.missing_row)


def test_an_encoder_knows_no_sale_that_opens_after_training(shop: Shop) -> None:
    until = int(shop.blocks.towers.at.max()) + 1
    sales = shop.dataset.sales
    wild = sales.with_columns(
        discount=pl
        .when(pl.col("opens_at").dt.timestamp("us") >= until)
        .then(99.0)
        .otherwise(pl.col("discount"))
    )
    other = fit(replace(shop.dataset, sales=wild), until, 12)
    assert other.fingerprint == fit(shop.dataset, until, 12).fingerprint
    assert encode(other, shop.dataset).fingerprint == shop.encoded.fingerprint


def test_an_opening_long_before_all_events_turns_no_age_around(shop: Shop) -> None:
    data = shop.dataset
    early = data.sales.with_columns(
        opens_at=pl
        .when(pl.int_range(pl.len()) == 0)
        .then(pl.lit(datetime(1900, 1, 1, tzinfo=UTC)).cast(data.sales.schema["opens_at"]))
        .otherwise(pl.col("opens_at"))
    )
    far = Resident.of(replace(data, sales=early), shop.encoded, CPU)
    requests = shop.blocks.towers
    rows = np.flatnonzero(requests.history_end > far.member_ptr[requests.member])[:50]
    days = far.window(past_of(requests, rows), length=4).days
    near = shop.resident.window(past_of(requests, rows), length=4).days
    torch.testing.assert_close(days, near)
