from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest

from recsys.campaign.audience import Audience, slates_for_all
from recsys.campaign.slate_log import Offered, Send, rows_of
from recsys.campaign.slate_replay import TOLERANCE, replayed
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.errors import DataRefusedError
from recsys.domain.events import DAY
from recsys.domain.slates import FLAG_REPAIRED, Slates
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import FittedValue, Logistic
from tests.builders import tiny_dataset
from tests.campaign.logged import SALES, offered_for, send_of, slates_of


def at_rows(slates: Slates, rows: np.ndarray) -> Slates:
    return Slates(**{field.name: getattr(slates, field.name)[rows] for field in fields(Slates)})


def logged(slates: Slates, send: Send | None = None) -> pl.DataFrame:
    everyone = replace(offered_for(slates), verdict=None)
    return rows_of(slates, send or send_of(), everyone)


def filled(slates: Slates) -> tuple[int, int]:
    row, slot = np.nonzero((slates.sales != NONE) & (slates.flags != FLAG_REPAIRED))
    return int(row[3]), int(slot[3])


def test_the_same_slates_agree_in_any_order_and_repaired_slots_are_left_out() -> None:
    slates = slates_of(1, np.arange(40))
    repaired = int((slates.flags == FLAG_REPAIRED).sum())
    # made again, a repaired slot has the sale and the chance from before the repair
    swap = slates.flags == FLAG_REPAIRED
    again = replace(
        slates,
        sales=np.where(swap, (slates.sales + 1) % SALES, slates.sales),
        log_propensity=np.where(swap, np.float32(-1), slates.log_propensity),
    )
    found = replayed(
        logged(slates), at_rows(again, np.random.default_rng(0).permutation(40)), send_of()
    )
    assert found.agrees
    assert found.repaired == repaired > 0
    assert found.slots == (slates.sales != NONE).sum() - repaired
    assert (found.other_sales, found.largest) == (0, 0)


def test_another_sale_or_chance_and_a_longer_shorter_or_missing_slate_are_found() -> None:
    slates = slates_of(2, np.arange(40))
    log, at = logged(slates), filled(slates)
    sales, chances = slates.sales.copy(), slates.log_propensity.copy()
    sales[at] = (sales[at] + 1) % SALES
    assert replayed(log, replace(slates, sales=sales), send_of()).other_sales == 1
    sales[at] = NONE
    assert replayed(log, replace(slates, sales=sales), send_of()).other_sales == 1
    for off, same in ((0.5 * TOLERANCE, True), (2 * TOLERANCE, False), (np.inf, False)):
        near = chances.copy()
        near[at] = np.float32(-0.25 - off)
        base = chances.copy()
        base[at] = np.float32(-0.25)
        found = replayed(
            logged(replace(slates, log_propensity=base)),
            replace(slates, log_propensity=near),
            send_of(),
        )
        assert found.agrees is same
        assert found.other_sales == 0
    short = at_rows(slates, np.flatnonzero(np.arange(40) != at[0]))
    lost = int(((slates.sales != NONE) & (slates.flags != FLAG_REPAIRED))[at[0]].sum())
    assert replayed(log, short, send_of()).other_sales == lost
    ended = np.flatnonzero((slates.sales != NONE).any(axis=1) & (slates.sales[:, -1] == NONE))
    longer = slates.sales.copy()
    longer[ended, -1] = 0
    found = replayed(log, replace(slates, sales=longer), send_of())
    assert found.other_sales == len(ended) > 0
    fewer = replace(slates, sales=slates.sales[:, :5], log_propensity=slates.log_propensity[:, :5])
    last = (slates.sales[:, 5] != NONE) & (slates.flags[:, 5] != FLAG_REPAIRED)
    assert replayed(log, fewer, send_of()).other_sales == last.sum() > 0


def test_slates_are_asked_for_of_the_members_who_were_sent_one_alone() -> None:
    slates = slates_of(1, np.arange(40), repairs=False)
    offered = offered_for(slates)
    log = rows_of(slates, send_of(), offered)
    asked: list[I64] = []

    def make(members: I64) -> Slates:
        asked.append(members)
        return at_rows(slates, members)

    assert replayed(log, make, send_of()).agrees
    shown = (slates.sales != NONE).any(axis=1)
    np.testing.assert_array_equal(asked[0], np.flatnonzero(shown & (offered.verdict == 0)))
    # what others would have been sent plays no part
    assert replayed(log, slates, send_of()) == replayed(log, make, send_of())


def test_a_log_of_nothing_does_not_agree_and_a_strange_one_is_refused() -> None:
    slates = slates_of(1, np.arange(40))
    log = logged(slates)
    assert not replayed(log[:0], slates, send_of()).agrees
    with pytest.raises(DataRefusedError, match="no row of send saturday"):
        replayed(log, slates, send_of("saturday"))
    with pytest.raises(DataRefusedError, match="1 ids"):
        replayed(
            log.with_columns(
                sale_id=pl
                .when(pl.int_range(pl.len()) == log["slot"].arg_max())
                .then(pl.lit("?"))
                .otherwise("sale_id")
            ),
            slates,
            send_of(),
        )


def test_real_slates_replay_by_their_seed_and_another_policy_does_not() -> None:
    dataset = tiny_dataset()
    rng = np.random.default_rng(5)
    tastes: F32 = rng.normal(size=(40, 6)).astype(np.float32)
    unit: F32 = rng.normal(size=(dataset.num_sales, 6)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    at = dataset.watermark - 2 * DAY
    shelf = dataset.shop.shelf(at).sales
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    weight = np.array([1.0 if name == "taste" else 0.0 for name in NAMES])
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    ranker = Ranker(Blend(temperature=0.5), FittedValue(model, (plain, plain), "purchase"), 0.02)

    def make(ranker: Ranker, members: I64) -> Slates:
        def taste_of(rows: I32) -> F32:
            taste: F32 = np.einsum("mu,su->ms", tastes[rows], unit[shelf])
            return taste

        asked = Audience(dataset.shop, at, members.astype(np.int32), taste_of, unit[shelf])
        (slates,) = slates_for_all(ranker, asked)
        return slates

    slates = make(ranker, np.arange(40))
    send = replace(
        send_of(),
        sales=type(send_of().sales)(pl.Series([f"s{row}" for row in range(dataset.num_sales)])),
        curated=dataset.shop.curated(at),
    )
    offered = Offered(
        new=np.zeros(slates.sales.shape, dtype=np.float32),
        eligible_count=np.full(40, len(shelf)),
        eligible_hash=np.zeros(40, dtype=np.uint64),
    )
    log = rows_of(slates, send, offered)
    assert (log["log_propensity"] < 0).any()
    found = replayed(log, lambda members: make(ranker, members), send)
    assert found.agrees
    assert found.slots == (slates.sales != NONE).sum()
    other = replayed(log, lambda members: make(ranker.with_novelty(4.0), members), send)
    assert not other.agrees
    assert other.other_sales > 0
