"""What the shop has on record, kept day by day, against the same record read anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.data.contract import check
from recsys.domain.dataset import Dataset
from recsys.runs.record import Ids, Record
from recsys.world.days import play_day
from recsys.world.log import Log, join
from recsys.world.play import Played, respond
from recsys.world.policy import logging_policy
from recsys.world.retailer import make_world
from recsys.world.spec import FlashSales

SPEC = FlashSales(members=700, days=8, seed=4)
LATER = 5


@pytest.fixture(scope="module")
def past() -> Played:
    world = make_world(SPEC, days=SPEC.num_days + LATER)
    return respond(world, world.start, policy=logging_policy, days=SPEC.num_days)


@pytest.fixture(scope="module")
def logs(past: Played) -> list[Log]:
    state, found = past.state, list[Log]()
    for _ in range(LATER):
        day = play_day(past.world, state, policy=logging_policy)
        found.append(day.log)
        state = day.state
    return found


def read(past: Played, log: Log) -> tuple[Dataset, Ids]:
    """Read a log through the data contract, with the catalogue of all days."""
    ahead = replace(past.state, day=past.world.num_days)
    tables = replace(past, log=log, states=(*past.states, ahead)).tables()
    dataset = check(tables, SPEC).dataset
    assert tables.identities is not None
    return dataset, Ids.of(dataset, tables.identities, past.truth)


def kept(past: Played, logs: list[Log]) -> Record:
    record = Record.of(*read(past, past.log))
    for log in logs:
        record = record.after(log)
    return record


def test_a_record_kept_day_by_day_is_that_of_the_whole_log_read_anew(
    past: Played, logs: list[Log]
) -> None:
    record = kept(past, logs)
    whole, _ = read(past, join([past.log, *logs]))
    members = int((record.ids.member >= 0).sum())
    assert members == 700
    for ours, theirs in ((record.history, whole.history), (record.shown, whole.shop.shown)):
        end = int(ours.member_ptr[members])
        np.testing.assert_array_equal(ours.member_ptr[: members + 1], theirs.member_ptr[:701])
        np.testing.assert_array_equal(ours.sale[:end], theirs.sale[:end])
        np.testing.assert_array_equal(ours.at[:end], theirs.at[:end])
    end = int(record.history.member_ptr[members])
    np.testing.assert_array_equal(record.history.kind[:end], whole.history.kind[:end])
    np.testing.assert_array_equal(record.history.channel[:end], whole.history.channel[:end])


def test_what_was_on_record_stays_as_it_was(past: Played, logs: list[Log]) -> None:
    before = kept(past, [])
    copy = before.history.at.copy()
    after = before.after(logs[0])
    np.testing.assert_array_equal(before.history.at, copy)
    assert len(after.history) > len(before.history)
    early = after.history.where(after.history.at < past.world.noon(SPEC.num_days))
    np.testing.assert_array_equal(early.sale, before.history.sale)


def test_members_who_withhold_consent_leave_no_trace(past: Played, logs: list[Log]) -> None:
    record = kept(past, logs)
    silent = np.flatnonzero(~record.consent)
    assert len(silent)
    for rows in (record.history.member_ptr, record.shown.member_ptr):
        assert (np.diff(rows)[silent] == 0).all()
    assert np.isin(record.ids.member[np.concatenate([one.member for one in logs])], silent).any()


def test_a_purchase_in_a_shop_is_that_of_whom_the_identity_table_names(
    past: Played, logs: list[Log]
) -> None:
    """Most customers are members themselves; some are taken for another, some for nobody."""
    ids = kept(past, logs).ids
    in_shop = past.world.members.in_shop
    itself = ids.customer[in_shop] == ids.member[in_shop]
    assert 0.85 < itself.mean() < 1
    assert (ids.customer[~in_shop] == -1).all()
